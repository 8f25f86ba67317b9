"""Files damaged at random, given to the readers, the checkpoint loader and the watershed's command.

    .venv/bin/python tools/fuzz.py --cases 20000 --first 0      # make fuzz
    .venv/bin/python tools/fuzz.py --subject tiff --first 1234 --cases 1 --keep damaged

Each case is a good small file with a few bytes changed, drawn from the case's number. A reader may give a volume or an
InputError; anything else is a defect: another exception, a crash of the process, more than 10 seconds, more memory
than the limit below, or a file left under the output's name. Prints one line for each defect and ends with 1 if there
are any. Cases run in a process that is started anew when one of them ends it.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
SECONDS = 10
CLAIM = 64_000_000
"""Bytes of memory that the readers are told are free: what claims more has to be refused."""
MEMORY = 8 * CLAIM
"""Bytes that a case may take: a multiple of the claim."""
CHUNK = 2**32
"""Bytes that a case may take beside these in a Zarr store: what a damaged chunk can say it holds (Blosc, 32 bits)."""


class Subject(NamedTuple):
    """What is given damaged files.

    Attributes:
        seeds: writes good files into a folder.
        call: works on one; its result or an InputError is what is expected.
    """

    seeds: Callable[[Path], None]
    call: Callable[[Path], Any]


def main() -> None:
    """Run the campaigns that the command line asks for."""
    given = _command_line().parse_args()
    if given.child:
        _child(given.subject[0], given.first, given.cases, given.keep)
        return
    begun, defects = time.perf_counter(), 0
    for name in given.subject or sorted(subjects()):
        for defect in campaign(name, given.first, given.cases, given.keep):
            defects += 1
            print(f"{name} {defect['case']}: {defect['what']}", flush=True)
        print(f"{name}: {given.cases} cases", file=sys.stderr)
    print(f"{defects} defects, {time.perf_counter() - begun:.0f} s")
    sys.exit(bool(defects))


def campaign(name: str, first: int, cases: int, keep: Path | None = None) -> Iterator[dict[str, Any]]:
    """Run cases of one subject, and give the defects: {"case": number, "what": text}."""
    last = first + cases
    while first < last:
        command = [sys.executable, __file__, "--child", "--subject", name, "--first", str(first)]
        command += ["--cases", str(last - first), *(["--keep", str(keep)] if keep else [])]
        child = subprocess.run(command, capture_output=True, text=True)
        lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
        yield from (line for line in lines if "what" in line)
        if child.returncode == 0:
            return
        if not lines:
            raise RuntimeError(f"{name}: the process did not start: {child.stderr[-2000:]}")
        first = lines[-1]["case"] + 1
        ended = f"more than {SECONDS} s" if child.returncode == -signal.SIGALRM else f"status {child.returncode}"
        yield {"case": first - 1, "what": f"the process ended: {ended}; {child.stderr[-300:]}"}


def subjects() -> dict[str, Subject]:
    """Return the subjects by name."""
    from scripts.volume_io import write_volume

    array = np.arange(10 * 8 * 12).reshape(10, 8, 12).astype(np.uint16)

    def volumes(folder: Path, *names: str) -> None:
        for name in names:
            write_volume(folder / name, array, (2.0, 1.0, 0.5))

    return {
        "tiff": Subject(lambda folder: (volumes(folder, "a.tif", "b.ome.tif"), _more_tiff(folder, array)), _read),
        "hdf5": Subject(lambda folder: (volumes(folder, "a.h5"), _more_hdf5(folder, array)), _read),
        "nifti": Subject(lambda folder: volumes(folder, "a.nii", "b.nii.gz"), _read),
        "zarr": Subject(lambda folder: (volumes(folder, "a.ome.zarr", "b.zarr"), _zarr_3(folder, array)), _read),
        "weights": Subject(_weights, _load),
        "watershed": Subject(_maps, _decode),
    }


# ---- good files ------------------------------------------------------------------------------------------------------
def _more_tiff(folder: Path, array: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(folder / "c.tif", array)
    tifffile.imwrite(folder / "d.tif", array.astype(np.float32), compression="lzw", tile=(16, 16), bigtiff=True)
    tifffile.imwrite(folder / "e.tif", array.astype(np.uint8), imagej=True, compression="packbits")


def _more_hdf5(folder: Path, array: np.ndarray) -> None:
    import h5py

    with h5py.File(folder / "b.h5", "w", libver="latest") as file:
        file.create_dataset("volumes/raw", data=array, fletcher32=True, chunks=(3, 4, 5))
    with h5py.File(folder / "c.h5", "w") as file:
        file["raw"] = array.astype(">f4")


def _zarr_3(folder: Path, array: np.ndarray) -> None:
    from scripts.volume_io import create_zarr

    create_zarr(folder / "c.zarr", array.shape, array.dtype, (3, 4, 5), (2.0, 1.0, 0.5), zarr_format=3)[...] = array


def _weights(folder: Path) -> None:
    import torch

    state = _network().state_dict()
    torch.save(state, folder / "a.pt")
    torch.save(state, folder / "b.pt", _use_new_zipfile_serialization=False)


def _maps(folder: Path) -> None:
    from scripts.volume_io import write_volume

    maps = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 10)).astype(np.uint8)
    write_volume(folder / "a.h5", maps, channel_names=("foreground", "contour", "distance"))
    write_volume(folder / "b.zarr", maps, channel_names=("foreground", "contour", "distance"))


# ---- what they are given to ------------------------------------------------------------------------------------------
def _read(path: Path) -> None:
    from scripts.errors import InputError
    from scripts.volume_io import open_volume, read_volume

    refused = 0
    try:
        array, size = read_volume(path)
        assert array.ndim == 3 and array.dtype.kind in "uif" and (size is None or len(size) == 3)
    except InputError:
        refused += 1
    try:
        volume = open_volume(path)
        part = volume[0:2, 0:3, 0:3]
        assert part.shape == tuple(min(n, most) for n, most in zip(volume.shape, (2, 3, 3), strict=True))
        volume.close()
    except InputError:
        refused += 1
    if refused == 2:
        raise InputError("refused")


def _load(path: Path) -> None:
    from scripts.checkpoint import load_weights

    load_weights(_network(), str(path))


def _network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Conv3d(2, 1, 1))


def _decode(path: Path) -> None:
    from scripts.errors import InputError
    from scripts.watershed.__main__ import main as watershed

    out = path.parent / "out.tif"
    out.unlink(missing_ok=True)
    before = set(path.parent.iterdir())
    try:
        watershed(str(path), str(out), min_seed_size=1, min_instance_size=1)
        assert out.exists()
    except InputError:
        assert set(path.parent.iterdir()) == before, "a file was left behind"
        raise


# ---- damage ----------------------------------------------------------------------------------------------------------
def damage(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one to four changes: bits, numbers, pieces cut, doubled or moved, the end cut off."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _CHANGES[rng.randrange(len(_CHANGES))](found, rng)
    return bytes(found)


def _bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 8))):
        if data:
            data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: random.Random) -> None:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(
        (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, rng.getrandbits(8 * size))
    )
    place = _place(data, rng)
    data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _cut(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    del data[place : place + rng.choice((1, 4, 64))]


def _double(data: bytearray, rng: random.Random) -> None:
    place, size = _place(data, rng), rng.choice((1, 4, 64))
    data[place:place] = data[place : place + size]


def _move(data: bytearray, rng: random.Random) -> None:
    source, target, size = _place(data, rng), _place(data, rng), rng.choice((4, 16))
    data[target : target + size] = data[source : source + size]


def _end(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _digits(data: bytearray, rng: random.Random) -> None:
    """Change a number in text, which JSON and XML are; without any, nothing."""
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = rng.choice((b"-1", b"0", b"99999999999", b"1e9", b"null", b'"x"', b"[]", b"3.5"))


_CHANGES = (_bits, _number, _number, _cut, _double, _move, _end, _digits)


def _place(data: bytearray, rng: random.Random) -> int:
    """Most often in the first bytes, where the headers are."""
    most = min(len(data), rng.choice((16, 128, 1024, len(data) or 1)))
    return rng.randrange(max(most, 1))


def _damaged(seeds: Path, folder: Path, rng: random.Random) -> Path:
    """Copy a good file, or a store, to the folder, damaged."""
    source = rng.choice(sorted(seeds.iterdir()))
    target = folder / source.name
    if source.is_file():
        target.write_bytes(damage(source.read_bytes(), rng))
        return target
    shutil.copytree(source, target)
    files = sorted(file for file in target.rglob("*") if file.is_file())
    metadata = [file for file in files if file.name.startswith(".z") or file.name == "zarr.json"]
    file = rng.choice(rng.choice((metadata, files)))
    file.write_bytes(damage(file.read_bytes(), rng))
    return target


# ---- one process of cases --------------------------------------------------------------------------------------------
def _child(name: str, first: int, cases: int, keep: Path | None) -> None:
    sys.path.insert(0, str(BUNDLE))
    import logging
    import warnings

    from scripts.volume_io import volume

    logging.lastResort = None  # said nowhere, but heard: the TIFF reader listens to what tifffile logs
    warnings.simplefilter("ignore")
    subject = subjects()[name]
    with tempfile.TemporaryDirectory() as place:
        seeds = Path(place, "seeds")
        seeds.mkdir()
        subject.seeds(seeds)
        for good in sorted(seeds.iterdir()):
            subject.call(good)  # imports what there is to import
        (seeds / "out.tif").unlink(missing_ok=True)
        volume.available_bytes = lambda: CLAIM
        _limit_memory(MEMORY + CHUNK * (name in ("zarr", "watershed")))
        for case in range(first, first + cases):
            print(json.dumps({"case": case}), flush=True)
            if what := _run(subject, seeds, Path(place, str(case)), case, keep):
                print(json.dumps({"case": case, "what": what}), flush=True)


def _limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _run(subject: Subject, seeds: Path, folder: Path, case: int, keep: Path | None) -> str:
    """Run one case; what is wrong, or nothing."""
    from scripts.errors import InputError

    folder.mkdir()
    path = _damaged(seeds, folder, random.Random(case))
    kept = keep and shutil.copytree(folder, keep / str(case), dirs_exist_ok=True)
    signal.alarm(SECONDS)  # ends the process, also where it hangs in a library
    try:
        with suppress(InputError):
            subject.call(path)
    except BaseException as error:  # MemoryError, SystemExit, … : all of them are defects
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{path.name}: {type(error).__name__}: {str(error)[:300]} ({place.filename}, {place.lineno})"
    finally:
        signal.alarm(0)
        shutil.rmtree(folder)
    if kept:
        shutil.rmtree(kept)
    return ""


def _command_line() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--subject", action="append", help="by default all")
    parser.add_argument("--cases", type=int, default=2000, help="of each subject")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, help="folder that the files of defects are copied to")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.path.insert(0, str(BUNDLE))
    main()
