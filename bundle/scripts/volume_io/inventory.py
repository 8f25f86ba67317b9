"""The files that a volume is made of, and when one of them changed last."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from scripts.volume_io import hdf5, tiff_member, zarr_member
from scripts.volume_io.paths import existing, format_of

__all__ = ["file_change", "last_change", "member_entries", "volume_files"]


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
