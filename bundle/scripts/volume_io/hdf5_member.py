"""The parts of an HDF5 dataset: sources of virtual datasets, raw files, and chunks that were never written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path

import h5py
import numpy as np
from scripts.errors import InputError
from scripts.volume_io.absent import Absent
from scripts.volume_io.hdf5_header import require_filters
from scripts.volume_io.hdf5_link import Opener, looked_up, raw_folder
from scripts.volume_io.hdf5_source import Source, sources_of
from scripts.volume_io.member import checked_member

__all__ = ["examine"]

# virtual datasets whose sources are virtual, and so on
DEEPEST = 16


@dataclass
class Parts:
    """What a dataset is made of, while it is being looked at.

    Attributes:
        volume: the file that the user named.
        files: all that it is read from.
        shares: which share of each source was never written, None while it is being looked at.
    """

    volume: Path
    files: list[Path]
    shares: dict[tuple[Path, str], float | None] = field(default_factory=dict)


def examine(dataset: h5py.Dataset, opener: Opener) -> Absent | None:
    """See that all files that a dataset is read from are there and may be read; count what was never written.

    Args:
        dataset: of the volume.
        opener: its `files` get those that are found.

    Raises:
        InputError: a file is missing, lies outside the volume's folder, has no such dataset or one that is too small;
            or virtual datasets are each other's source.
    """
    return _absent(dataset, Parts(opener.volume, opener.files), 0)


def _absent(dataset: h5py.Dataset, parts: Parts, depth: int) -> Absent | None:
    voxels = prod(dataset.shape or ())
    if not voxels:
        return None
    if dataset.is_virtual:
        lacking = round(_lacking(dataset, parts, depth))
        return Absent(lacking, voxels, "voxels", "belong to no source or were never written", _fill(dataset))
    if dataset.external:
        _check_raw(dataset, parts, depth)
        return None
    if dataset.chunks is not None:
        total = prod(ceil(side / chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        lacking = max(0, total - dataset.id.get_num_chunks())
        return Absent(lacking, total, "chunks", "were never written", _fill(dataset))
    lacking = 0 if dataset.id.get_storage_size() else voxels
    return Absent(lacking, voxels, "voxels", "were never written", _fill(dataset))


def _lacking(dataset: h5py.Dataset, parts: Parts, depth: int) -> float:
    """Return how many voxels of a virtual dataset no source gives."""
    if depth == DEEPEST:
        raise InputError(f"{parts.volume}: virtual datasets in more than {DEEPEST} levels.")
    lacking = float(prod(dataset.shape))
    for name, sources in sources_of(dataset).items():
        with Opener(parts.volume, parts.files) as opener:
            if name == ".":
                file = dataset.file
            else:
                path = looked_up(Path(dataset.file.filename), name, "HDF5_VDS_PREFIX")
                file = opener.open(path, "the virtual dataset's source")
            for source in sources:
                lacking -= _given(opener, file, source, parts, depth)
    return max(0.0, lacking)


def _given(opener: Opener, file: h5py.File, source: Source, parts: Parts, depth: int) -> float:
    """Return how many voxels a source gives."""
    key = (Path(os.path.realpath(file.filename)), source.dataset)
    name = f"{file.filename}::{source.dataset.strip('/')}"
    node = _dataset(opener, file, source, name)
    if key not in parts.shares:
        parts.shares[key] = None
        absent = _absent(node, parts, depth + 1)
        parts.shares[key] = absent.lacking / absent.total if absent else 0.0
    if (share := parts.shares[key]) is None:
        raise InputError(f"{parts.volume}: the virtual dataset {name} is its own source.")
    _check_size(node, source, name, parts)
    return min(source.voxels, node.size) * (1 - share)


def _dataset(opener: Opener, file: h5py.File, source: Source, name: str) -> h5py.Dataset:
    node = opener.find(source.dataset, file)
    if not isinstance(node, h5py.Dataset):
        raise InputError(f"{opener.volume}: the virtual dataset's source {name} is missing: there is no such dataset.")
    require_filters(node)
    return node


def _check_size(dataset: h5py.Dataset, source: Source, name: str, parts: Parts) -> None:
    shape = dataset.shape
    if source.sides is None:
        fits = source.is_growing or prod(shape) == source.voxels
        expected = f"{source.voxels} voxels"
    else:
        fits = len(shape) == len(source.sides) and all(np.greater_equal(shape, source.sides))
        expected = f"at least {source.sides}"
    if not fits:
        found = f"the virtual dataset's source {name} has shape {shape}, expected {expected}"
        raise InputError(f"{parts.volume}: {found}. Was it written to the end, and is it the right file?")


def _check_raw(dataset: h5py.Dataset, parts: Parts, depth: int) -> None:
    """See that the files of external storage hold every byte: beyond their end HDF5 reads zeros."""
    rest = dataset.size * dataset.dtype.itemsize
    names = [os.fsdecode(name) for name, *_ in dataset.external]
    folder = raw_folder(dataset, beside=not depth)  # HDF5 opens the sources of virtual datasets in its own way
    for name, (_, offset, size) in zip(names, dataset.external, strict=True):
        path = checked_member(parts.volume, folder / name, "the raw file")
        parts.files.append(path)
        used = min(size, rest)
        rest -= used
        if (there := path.stat().st_size) < offset + used:
            found = f"the raw file {path} has {there} bytes, expected {offset + used}"
            raise InputError(f"{parts.volume}: {found}; the rest would be read as 0. Copy it again.")


def _fill(dataset: h5py.Dataset) -> float:
    value = np.asarray(dataset.fillvalue)
    return float(value) if value.ndim == 0 and value.dtype.kind in "buif" else 0.0
