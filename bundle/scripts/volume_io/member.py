"""The files that a volume is made of: one that is missing, or lies elsewhere, is named before anything is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from scripts.command.flag import flag
from scripts.errors import InputError
from scripts.volume_io.paths import existing, format_of, is_zarr

__all__ = ["FOREIGN", "checked_member", "file_change", "last_change", "member_entries", "store_of", "volume_files"]

FOREIGN = "CYSGAN_FOREIGN_FILES"
"""Environment variable: with 1, parts of a volume are also read from outside its own folder.

It is read here alone, and no configuration or request can set it.
"""


def volume_files(path: str | os.PathLike[str], dataset: str | None = None) -> list[Path]:
    """List the files that a volume consists of: its own first, then those that it names, each once.

    HDF5: sources of virtual datasets, raw files of external storage, files behind links. TIFF: the other files of an
    OME-TIFF, NDTiff or MMStack. Zarr: metadata and chunks of the array, and the metadata of the groups above it; that
    is one path for each chunk, about 0.3 KB of memory.

    Args:
        path: as for `scripts.volume_io.read_volume`.
        dataset: for HDF5 and Zarr, the dataset where `path` names none.

    Raises:
        InputError: a file is missing; it lies outside the volume's own folder and `CYSGAN_FOREIGN_FILES` is not 1; or
            the volume cannot be opened.
    """
    return [Path(name) for name in dict.fromkeys(os.fspath(entry) for entry in member_entries(path, dataset))]


def member_entries(path: str | os.PathLike[str], dataset: str | None = None) -> Iterator[Path | os.DirEntry[str]]:
    """Give what `volume_files` lists one by one, for stores of many chunks; files may come twice.

    Raises:
        InputError: as `volume_files`.
    """
    file, named = existing(path)
    # imported here, since these modules build on this one
    from scripts.volume_io import hdf5, tiff_member, zarr_member

    match format_of(file):
        case "zarr":
            yield from zarr_member.entries(file, named or dataset)
        case "hdf5":
            yield from hdf5.files(file, named or dataset)
        case "tiff":
            yield from tiff_member.files(file)
        case _:
            yield file


def last_change(path: str | os.PathLike[str], dataset: str | None = None) -> str:
    """Return size and time of the last change of all of a volume's files: another text once one of them has changed.

    Each file is looked at, in a Zarr store each chunk.

    Raises:
        InputError: as `volume_files`.
    """
    return _change(member_entries(path, dataset))


def file_change(path: str | os.PathLike[str]) -> str:
    """Return size and time of the last change of a file that is no volume, such as weights, as `last_change` does."""
    return _change([Path(path)])


def _change(entries: Iterable[Path | os.DirEntry[str]]) -> str:
    count = size = newest = check = 0
    for entry in entries:
        state = entry.stat()
        count, size, newest = count + 1, size + state.st_size, max(newest, state.st_mtime_ns)
        check += crc32(f"{entry.name} {state.st_size} {state.st_mtime_ns}".encode(errors="surrogateescape"))
    time = datetime.fromtimestamp(newest / 1e9, UTC).isoformat()
    several = f" in {count} files, check {check % 2**32:08x}," if count > 1 else ""
    return f"{size} bytes{several} of {time}"


def checked_member(volume: Path, member: Path, role: str) -> Path:
    """Return a file that a volume names, if it may be read and is there.

    The volume's own folder is the one that holds it (of a Zarr store: the store itself). Links are followed: a volume
    may be a link, and then the folder that it leads to is its own, too. A part that is a link out of the folder lies
    outside.

    Args:
        volume: the file, or the Zarr store, that the user named.
        member: the part.
        role: what the part is, for the message, such as "virtual dataset raw: source".

    Raises:
        InputError: the part lies outside and `CYSGAN_FOREIGN_FILES` is not 1, or it is missing.
    """
    real = Path(os.path.realpath(member))
    folders = own_folders(volume)
    if not any(real.is_relative_to(folder) for folder in folders) and not _foreign_allowed():
        leads = "" if real == Path(os.path.abspath(member)) else f" (which leads to {real})"
        raise InputError(
            f"{volume}: {role} {member}{leads} lies outside {folders[0]}, the volume's own folder. Copy it there, or "
            f"set the environment variable {FOREIGN}=1 if you trust this file (docs/SECURITY.md)."
        )
    if not real.exists():
        raise InputError(f"{volume}: {role} {member} is missing; without it a part of the volume would be read as 0.")
    return member


def store_of(path: Path) -> Path:
    """Return the Zarr store that a path lies in: the outermost folder that is named as one."""
    return next((folder for folder in [*reversed(path.parents), path] if is_zarr(Path(folder.name))), path)


def own_folders(volume: Path) -> list[Path]:
    """Return the folders in which parts of a volume may lie."""
    if volume.is_dir():
        return [Path(os.path.realpath(volume))]
    named, real = Path(os.path.realpath(volume.absolute().parent)), Path(os.path.realpath(volume)).parent
    return list(dict.fromkeys([named, real]))


def _foreign_allowed() -> bool:
    return flag(os.environ.get(FOREIGN) or "false", FOREIGN)
