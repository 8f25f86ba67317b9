"""Names of volumes: which format, which dataset, and whether an output can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from scripts.command.address import expanded
from scripts.errors import InputError
from scripts.volume_io.cause import explain

__all__ = [
    "SUFFIXES",
    "check_place",
    "check_writable",
    "decoding",
    "existing",
    "format_of",
    "is_name",
    "is_store",
    "is_zarr",
    "split_dataset",
]

SUFFIXES = {
    "tiff": (".tif", ".tiff", ".btf"),
    "hdf5": (".h5", ".hdf5", ".hdf"),
    "nifti": (".nii", ".nii.gz"),
    "zarr": (".zarr",),  # .ome.zarr among them
}
# one of these makes a folder an array or a group of a Zarr store, versions 3 and 2
ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def is_name(value: object) -> bool:
    """Whether a volume, or a model, is given by the name of its file."""
    return isinstance(value, str | os.PathLike)


def split_dataset(spec: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Split `file.h5::dataset` into the file and the dataset; the dataset of a plain path is None.

    Text is what somebody typed, so `~` and `$VAR` are replaced. A Path was made by a program and is taken as it is.

    >>> split_dataset("cells.h5::volumes/raw")
    (PosixPath('cells.h5'), 'volumes/raw')
    """
    text = os.fspath(spec) if isinstance(spec, Path) else expanded(spec)
    path, separator, dataset = text.rpartition("::")
    if not separator or os.path.exists(text):
        return Path(text), None
    return Path(path), dataset or None


def format_of(path: Path) -> str:
    """Return "tiff", "hdf5", "nifti" or "zarr", by the extension; what lies in a Zarr store is Zarr.

    Raises:
        InputError: the extension is none of `SUFFIXES`.
    """
    for name, suffixes in SUFFIXES.items():
        if path.name.lower().endswith(suffixes):
            return name
    if is_zarr(path):
        return "zarr"
    known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    raise InputError(f"{path}: extension {path.suffix or '(none)'!r}; expected that of a volume: {known}.")


def is_zarr(path: Path) -> bool:
    """Return whether a path names a Zarr store or a folder in one, by the extension."""
    return any(name.lower().endswith(SUFFIXES["zarr"]) for name in path.parts)


def is_store(path: Path) -> bool:
    """Return whether a folder has metadata of Zarr."""
    return any((path / name).is_file() for name in ZARR_METADATA)


def existing(spec: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Split `spec` as `split_dataset` does, and see that the file, or the Zarr store, is there.

    Raises:
        InputError: no such file, or it is a folder that is no store.
    """
    path, dataset = split_dataset(spec)
    _check_reachable(path)
    if path.is_dir() and is_zarr(path):
        if not (is_store(path) or is_store(path / (dataset or "").strip("/"))):
            _refuse_folder(path)
        return path, dataset
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it, or a pattern such as {path / '*.tif'}.")
    if not path.is_file():
        found = _neighbours(path.parent)
        raise InputError(f"{path}: no such file ({found}). Relative names are looked up in {Path.cwd()}.")
    if format_of(path) == "zarr":
        raise InputError(f"{path} is a file; expected a Zarr store, which is a folder. Unpack it, if it is packed.")
    if dataset is not None and format_of(path) != "hdf5":
        raise InputError(f"{path}: only HDF5 files and Zarr stores have datasets; leave out '::{dataset}'.")
    return path, dataset


def _check_reachable(path: Path) -> None:
    """See that a path is no link to nothing, and that its folder may be looked into.

    Raises:
        InputError: it is, or may not.
    """
    try:
        path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            advice = "Fetch it (git annex get, datalad get), or mend the link."
            raise InputError(f"{path} is a link to {os.readlink(path)}, which is not there. {advice}") from error
    except NotADirectoryError:
        pass  # told by whoever looks for the file
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. See that you may look into its folder.") from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """See that `path` can be written before any work is done for it; nothing is created.

    Raises:
        InputError: unknown extension, a folder in its place (for Zarr: one that is no store), or a folder that cannot
            be made or written to.
    """
    target, _ = split_dataset(path)
    if format_of(target) == "zarr":
        _check_store(target)
        _check_parent(target)
    else:
        check_place(target)


def check_place(target: Path) -> None:
    """See that a file of any kind can be written; nothing is created.

    Raises:
        InputError: a folder in its place, or a folder that cannot be made or written to.
    """
    if target.is_dir():
        raise InputError(f"{target} is a folder; the output needs the name of a file.")
    _check_parent(target)


def _check_parent(target: Path) -> None:
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{target} cannot be written: {folder} is a file, not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{target} cannot be written: no permission to write to {folder}; choose another folder.")


@contextmanager
def decoding(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError that names the file and the cause; InputErrors pass through."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:  # a size in a damaged file, more often than not
        raise InputError(
            f"{path}: memory ran out as it was read as {kind} {error}. Read it in parts (docs/guides/LARGE_VOLUMES.md) "
            "or copy it again if it is not so large."
        ) from error
    except Exception as error:  # decoders raise errors of many kinds, KeyError and zlib.error among them
        raise InputError(explain(path, kind, error)) from error


def _check_store(target: Path) -> None:
    if not target.name.lower().endswith(SUFFIXES["zarr"]):
        raise InputError(f"{target} lies in a Zarr store; name the store, and the array after '::'.")
    if target.is_file():
        raise InputError(f"{target} is a file; a Zarr store is a folder. Choose another name.")
    if target.is_dir() and not is_store(target):
        _refuse_folder(target)


def _refuse_folder(path: Path) -> None:
    """Say what is in a folder that should be a store; of many names, such as chunks, a few."""
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in islice(entries, 6))
    found = f"a folder with {', '.join(names) or 'nothing in it'}, without metadata of Zarr"
    raise InputError(f"{path}: {found}; expected one of {', '.join(ZARR_METADATA)}. Was it copied whole?")


def _neighbours(folder: Path, limit: int = 6) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}"
    known = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    known = ("",) if is_zarr(folder) else known  # of a store the groups and levels
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(known))
    return f"its folder holds {', '.join(names[:limit]) or 'no volumes'}{', …' if len(names) > limit else ''}"
