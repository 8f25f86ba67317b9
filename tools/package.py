"""Write the package for the model zoo, dist/cysgan_vX.Y.Z.zip, and try it from an empty folder; `make package` runs it.

    .venv/bin/python tools/package.py
    .venv/bin/python tools/package.py --schema dist/zoo_schema.json   # the zoo's own; downloaded unless it is there

In it is what git tracks below bundle/, as it stands in the working tree; what large_files.yml names; train.json and
inference.json, twins of the YAML files, because `monai.bundle.load` reads JSON alone; and SHA256SUMS. The sum of the
zip itself is written beside it, with the ending .sha256. The same files give the same bytes: names sorted, one time for
all, nothing compressed (compressors differ between machines, and weights and pictures hardly shrink). Memory: the
package, once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
sys.path.insert(0, str(BUNDLE))
NAME = "cysgan"
TWINS = ("train", "inference")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold


def contents(bundle: Path = BUNDLE) -> dict[str, bytes]:
    """The files of the package by their names in it, the list of their sums included.

    Raises:
        InputError: the zoo would refuse them, or git does not tell what belongs to the bundle.
    """
    from scripts.errors import InputError

    from trial import SUMS
    from zoo import faults, large_files

    names = tracked(bundle)
    large = [str(entry.get("path")) for entry in large_files((bundle / "large_files.yml").read_bytes())]
    names += [name for name in large if name not in names and (bundle / name).is_file()]
    files = {name: (bundle / name).read_bytes() for name in names}
    files |= {f"configs/{name}.json": twin(files[f"configs/{name}.yaml"]) for name in TWINS}
    if wrong := faults(files):
        raise InputError(f"{bundle}: not what the model zoo takes: {'; '.join(wrong)}.")
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return {**files, SUMS: sums.encode()}


def tracked(bundle: Path) -> list[str]:
    """Names below a folder that git tracks, sorted."""
    from scripts.errors import InputError

    names = _git(bundle, "ls-files", "-z")
    if missing := [name for name in names if not (bundle / name).is_file()]:
        raise InputError(f"{bundle}: git tracks {', '.join(missing)}, which is not there; restore it, or git rm it.")
    return sorted(names)


def twin(content: bytes) -> bytes:
    """A YAML config as JSON."""
    import yaml

    return (json.dumps(yaml.safe_load(content), indent=2, ensure_ascii=False) + "\n").encode()


def write_package(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write the zip, NAME_vX.Y.Z.zip with NAME/ in it, whole or not at all, and return its path."""
    from scripts.volume_io.replacement import replacing

    version = json.loads(files["configs/metadata.json"])["version"]
    path = folder / f"{NAME}_v{version}.zip"
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{NAME}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # as on Unix, readable by all
            archive.writestr(entry, files[name])
    return path


def changes(bundle: Path = BUNDLE) -> list[str]:
    """What is in the working tree and not in the last commit, as git tells it."""
    return _git(bundle, "status", "-z", "--", ".")


def _git(bundle: Path, *arguments: str) -> list[str]:
    from scripts.errors import InputError

    try:
        done = subprocess.run(["git", *arguments], cwd=bundle, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise InputError(f"{bundle}: a package is made from a git checkout, and git says: {reason}") from error
    return [line for line in done.stdout.split("\0") if line]


def main() -> None:
    """Write it, and try it."""
    from scripts.errors import InputError

    from trial import SCHEMA, try_package

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=BUNDLE.parent / "dist", help="folder of the zip (%(default)s)")
    parser.add_argument("--schema", type=Path, default=SCHEMA, help="of metadata.json (%(default)s)")
    parser.add_argument("--no-trial", action="store_true", help="write it only")
    given = parser.parse_args()
    try:
        for line in changes():
            print(f"not committed: {line}" + (" (not in the package)" if line.startswith("??") else ""))
        files = contents()
        path = write_package(files, given.out)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        Path(f"{path}.sha256").write_text(f"{digest}  {path.name}\n")
        print(f"{path}: {len(files)} files, {path.stat().st_size / 1e6:.1f} MB\nSHA-256 {digest}", flush=True)
        if not given.no_trial:
            try_package(path, given.schema)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
