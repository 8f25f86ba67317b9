"""Whether a package is as it was made: each of its files against the list of SHA-256 sums that it carries.

    python -m scripts.manifest                             the folder that this bundle lies in
    python -m scripts.manifest --path cysgan_vX.Y.Z.zip    a zip, before it is unpacked

`make package` writes the list, `SHA256SUMS`, in the form that `sha256sum -c` and `shasum -a 256 -c` read as well. It
tells damage and change. It does not tell who made the package: who changes a file can change its sum.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from scripts.command.start import start
from scripts.errors import InputError

__all__ = ["MANIFEST", "main", "manifest_text", "strays", "verify_folder", "verify_zip"]

MANIFEST = "SHA256SUMS"
"""Name of the list, in the package's folder."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_NAMED = 5
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError)


def manifest_text(files: Mapping[str, bytes]) -> str:
    """Return the list for files, by their names in the package: one line each, sorted."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))


def strays(name: str) -> bool:
    """Return whether a name leads out of the folder it is to lie in, on any system.

    >>> strays("configs/train.yaml"), strays("../train.yaml"), strays("C:/train.yaml")
    (False, True, True)
    """
    parts = name.split("/")
    return "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts)


def verify_folder(path: str | Path) -> list[str]:
    """Compare an unpacked package with its list. Memory: 1 MiB, and the list.

    Args:
        path: its folder.

    Returns:
        Names of files beside those of the package, such as what its commands have written.

    Raises:
        InputError: no list or no readable one, files that are missing, or files that were changed.
    """
    folder = Path(path)
    listing = folder / MANIFEST
    if not listing.is_file():
        raise InputError(
            f"{listing}: no such file, so nothing tells what the package held. Only what `make package` made has one; "
            "name such a zip, or the folder that it was unpacked to."
        )
    expected = _parsed(listing.read_bytes(), str(listing))
    _compare(str(folder), expected, {name: _sum_of_file(folder / name) for name in expected})
    beside = (file.relative_to(folder) for file in folder.rglob("*") if not file.is_dir())
    names = {file.as_posix() for file in beside if "__pycache__" not in file.parts}
    return sorted(names - {MANIFEST, *expected})


def verify_zip(path: str | Path) -> str:
    """Compare a packed package with its list. Nothing is unpacked. Memory: 1 MiB, and the list.

    Args:
        path: the zip.

    Returns:
        The one folder that it unpacks to.

    Raises:
        InputError: no whole zip; an entry that would be written outside that folder, is a link or is there twice; no
            list; files that are missing, were changed or are not on the list.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            top, entries = _entries(archive, path)
            if MANIFEST not in entries:
                raise InputError(f"{path}: holds no {top}/{MANIFEST}; expected a zip that `make package` made.")
            expected = _parsed(archive.read(entries.pop(MANIFEST)), f"{path}: {top}/{MANIFEST}")
            _compare(str(path), expected, {name: _sum_of_entry(archive, info) for name, info in entries.items()})
    except _UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a zip ({error}). Fetch it again.") from error
    return top


def main(path: str | None = None) -> None:
    """Compare a package with the SHA-256 sums that it carries, and print the result.

    Args:
        path: a zip, or the folder that it was unpacked to; by default the folder of this bundle.

    Raises:
        InputError: it differs, or is none.
    """
    named = Path(__file__).resolve().parents[1] if path is None else Path(str(path)).expanduser()
    if not named.exists():
        raise InputError(f"{named}: no such file or folder; name a package's zip, or the folder it was unpacked to.")
    more = verify_folder(named) if named.is_dir() else []
    if named.is_file():
        verify_zip(named)
    print(f"{named}: every file is as it was packed")
    if more:
        print(f"beside the package's own: {_brief(more)}")


def _entries(archive: zipfile.ZipFile, path: str | Path) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The folder that a zip unpacks to, and its files by their names in that folder."""
    entries: dict[str, zipfile.ZipInfo] = {}
    tops = set()
    for info in archive.infolist():
        if strays(info.filename.rstrip("/")) or stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{path}: entry {info.filename!r} leads out of the folder; do not unpack this zip.")
        top, _, name = info.filename.partition("/")
        tops.add(top)
        if name in entries:
            raise InputError(f"{path}: entry {info.filename!r} is there twice; do not unpack this zip.")
        if not info.is_dir():
            entries[name] = info
    if len(tops) != 1 or "" in entries:
        raise InputError(
            f"{path}: holds {_brief(sorted(tops)) or 'nothing'}; expected one folder, named after the model."
        )
    return tops.pop(), entries


def _parsed(content: bytes, source: str) -> dict[str, str]:
    """Sums by name."""
    lines = [_LINE.fullmatch(line) for line in content.decode(errors="replace").splitlines()]
    sums = {line[2]: line[1] for line in lines if line is not None}
    if not sums or len(sums) < len(lines) or any(map(strays, sums)):
        raise InputError(f"{source}: expected lines of a SHA-256 sum, two spaces and a name; fetch the package again.")
    return sums


def _compare(source: str, expected: Mapping[str, str], found: Mapping[str, str | None]) -> None:
    wrong = [f"{name} is missing" for name in expected if found.get(name) is None]
    wrong += [f"{name} was changed" for name in expected if found.get(name) not in (None, expected[name])]
    wrong += [f"{name} is not on the list" for name in found if name not in expected]
    if wrong:
        raise InputError(
            f"{source}: {len(wrong)} of {len(expected)} files are not as they were packed: {_brief(wrong)}. "
            f"Expected the SHA-256 sums of its {MANIFEST}. Unless you changed them yourself, fetch the package again."
        )


def _brief(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _sum_of_file(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            return _sum(file)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _sum_of_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Its sum; of an entry that is damaged, what equals none."""
    try:
        with archive.open(info) as file:
            return _sum(file)
    except Exception:  # what decompressors raise is of many kinds
        return "damaged"


def _sum(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


if __name__ == "__main__":
    start(main)
