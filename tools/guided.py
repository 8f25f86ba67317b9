"""Files made up by a search for code that no file has reached yet, given to the readers and to the loader of weights.

    .venv/bin/python -m pip install atheris                 # Linux, Python 3.11 or later; in no list of this project
    .venv/bin/python tools/guided.py tiff --seconds 600     # or hdf5, nifti, weights

What tools/fuzz.py draws blindly, atheris (libFuzzer) steers by the branches taken in bundle/scripts, tifffile and
nibabel; the code of h5py and torch is compiled, and is not seen. It begins with the same good files and changes them
by the same damage or libFuzzer's. What counts as a defect is the same as well, and ends the search: its traceback is
printed, the file is kept under --keep.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import fuzz


def main() -> None:
    """Search until the time is over or a defect is found."""
    given = _command_line().parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: .venv/bin/python -m pip install atheris (Linux, Python 3.11 or later)")
    sys.path.insert(0, str(fuzz.BUNDLE))
    logging.lastResort = None  # said nowhere, but heard: the TIFF reader listens to what tifffile logs
    warnings.simplefilter("ignore")
    given.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        seeds, path = Path(place, "seeds"), Path(place, "found")
        seeds.mkdir(), path.mkdir()
        with atheris.instrument_imports(include=["scripts", "tifffile", "nibabel"]):
            from scripts.errors import InputError
            from scripts.volume_io import volume

            subject = fuzz.subjects()[given.subject]
            subject.seeds(seeds)
            logging.getLogger("nibabel.global").handlers.clear()  # a line for each header that it doubts
            goods = sorted(seeds.iterdir())
            for good in goods:
                subject.call(good)  # imports what there is to import
        volume.available_bytes = lambda: fuzz.CLAIM
        endings = {good.read_bytes()[:2]: "".join(good.suffixes) for good in goods}  # gzip's NIfTI is another reader

        def call(data: bytes) -> None:
            file = path / f"a{endings.get(data[:2], endings[goods[0].read_bytes()[:2]])}"
            file.write_bytes(data)
            with suppress(InputError):
                subject.call(file)

        def change(data: bytes, most: int, seed: int) -> bytes:
            rng = random.Random(seed)
            return fuzz.damage(data, rng)[:most] if rng.random() < 0.5 else atheris.Mutate(data, most)

        limits = ["-max_len=65536", f"-max_total_time={given.seconds}", f"-timeout={fuzz.SECONDS}"]
        limits += ["-rss_limit_mb=4096", f"-malloc_limit_mb={fuzz.MEMORY // 10**6}"]
        limits += [f"-artifact_prefix={given.keep}/", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, str(seeds)], call, custom_mutator=change)
        atheris.Fuzz()


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="a search for files that a reader mistakes")
    parser.add_argument("subject", choices=("tiff", "hdf5", "nifti", "weights"), help="what is given the files")
    parser.add_argument("--seconds", type=int, default=600, help="how long to search")
    parser.add_argument("--keep", type=Path, default=Path("outputs", "guided"), help="gets the file of a defect")
    return parser


if __name__ == "__main__":
    main()
