"""A package as a stranger meets it: unpacked into an empty folder, checked, and run from another one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from scripts.errors import InputError

SCHEMA = Path(__file__).with_name("metadata_schema.json")
SUMS = "SHA256SUMS"  # the list in a package, as `sha256sum -c` reads it
SIZE = "(24,96,96)"
BUNDLE_COMMAND = ("-m", "monai.bundle")


def try_package(package: Path, schema: Path = SCHEMA) -> None:
    """Unpack a package and run its commands, a line printed for each.

    Args:
        package: the zip.
        schema: that of metadata.json. Where there is no such file, MONAI downloads the zoo's to this name.

    Raises:
        InputError: one of them failed, did not write what it should, or changed a file of the package.
    """
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        root = Path(folder)
        with zipfile.ZipFile(package) as archive:
            archive.extractall(root)
        [bundle] = root.iterdir()
        elsewhere, out = root / "elsewhere", root / "out"
        check_sums(bundle)
        _say("unpacked, every file as its sum says")
        elsewhere.mkdir()
        out.mkdir()
        _check(bundle, schema.resolve(), out)
        _use(bundle, elsewhere, out)
        check_sums(bundle)
        _say("its files are as before")
        if left := [path.name for path in elsewhere.iterdir()]:
            raise InputError(f"{package}: its commands left {', '.join(left)} in the folder that they were run from.")


def check_sums(bundle: Path) -> None:
    """Compare an unpacked package with its list of sums, as `sha256sum -c` does; nothing else may lie there.

    Raises:
        InputError: files that were changed, are missing, or are not on the list.
    """
    lines = (bundle / SUMS).read_text().splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    files = [path for path in bundle.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    found = {path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    del found[SUMS]
    if wrong := sorted(name for name, _ in found.items() ^ expected.items()):
        raise InputError(f"{bundle}: not as it was packed: {', '.join(dict.fromkeys(wrong))}.")


def _check(bundle: Path, schema: Path, out: Path) -> None:
    """The zoo's own checks, from the bundle's folder."""
    meta = ("--meta_file", "configs/metadata.json")
    _run(f"verify_metadata, by {schema.name}", bundle, *BUNDLE_COMMAND, "verify_metadata", *meta, "--filepath", schema)
    net = ("--net_id", "network_def", *meta, "--config_file", "configs/inference.json")
    _run("verify_net_in_out", bundle, *BUNDLE_COMMAND, "verify_net_in_out", *net, "--device", "cpu")
    files = ("--ckpt_file", "models/model.pt", "--filepath", out / "model.ts")
    _run("ckpt_export", bundle, *BUNDLE_COMMAND, "ckpt_export", *net, *files)
    _expect(out / "model.ts")


def _use(bundle: Path, elsewhere: Path, out: Path) -> None:
    """Inference and a training of two iterations on an example pair, from a folder with nothing in it."""
    data, configs = out / "data", bundle / "configs"
    _run("example pair", bundle, "-m", "scripts.example", "--output_dir", data, "--seed", 1, "--shape", SIZE)
    given = ("--config_file", configs / "inference.yaml", "--bundle_root", bundle, "--output_dir", out / "y")
    _run("inference", elsewhere, *BUNDLE_COMMAND, "run", *given, "--image", data / "imageY.tif")
    _expect(out / "y" / "imageY_instances.tif", out / "y" / "imageY_maps.h5")
    given = ("--config_file", configs / "train.yaml", "--bundle_root", bundle, "--output_dir", out / "train")
    given += ("--dataset_dir", data, "--model_path", out / "model.pt", "--max_iterations", 2, "--epoch_length", 2)
    short = ("--warm_up_iterations", 1, "--checkpoint_interval", 2, "--num_workers", 0)
    _run("training of 2 iterations", elsewhere, *BUNDLE_COMMAND, "run", "training", *given, *short)
    _expect(out / "model.pt", out / "train" / "checkpoint_0000002.pt")


def _run(title: str, cwd: Path, *arguments: object) -> None:
    """Run python in a folder; its output is shown only where it fails."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    ended = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ended.returncode:
        print(ended.stdout)
        raise InputError(f"{title}: failed, its output is above. In {cwd}: {' '.join(command)}")
    _say(title)


def _expect(*files: Path) -> None:
    if missing := [str(file) for file in files if not file.is_file()]:
        raise InputError(f"{', '.join(missing)}: not written, though the command ended well.")


def _say(text: str) -> None:
    print(f"  {text}", flush=True)
