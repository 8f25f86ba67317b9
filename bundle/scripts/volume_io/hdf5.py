"""Datasets of HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from scripts.errors import InputError
from scripts.volume_io import attribute
from scripts.volume_io.attribute import NAMES_ATTRIBUTE
from scripts.volume_io.axis import arrange, kept_axes
from scripts.volume_io.chunked import arranged
from scripts.volume_io.hdf5_header import letters_of, meant_type, require_filters, voxel_size
from scripts.volume_io.paths import decoding
from scripts.volume_io.volume import Volume, check_memory, diagonal_affine, native, numeric

__all__ = ["NAMES_ATTRIBUTE", "channel_names", "choose", "read", "write"]


def read(path: Path, dataset: str | None = None, ndim: int = 3) -> Volume:
    """Read a dataset of `ndim` axes, whatever their order; axes of length 1 beyond these are dropped.

    Memory: that of the array; twice that where its axes are in another order.

    Args:
        path: the file.
        dataset: the name of the dataset; None takes the only one that has `ndim` axes.
        ndim: 3 for (Z, Y, X), 4 for (C, Z, Y, X).

    Raises:
        InputError: no such dataset, none or several to choose from, other axes, no numbers, or a damaged file.
    """
    with decoding(path, "HDF5"), h5py.File(path, "r") as file:
        chosen, axes = choose(file, dataset, ndim, path)
        check_memory(chosen.shape, chosen.dtype, f"{path}::{chosen.name.lstrip('/')}")
        size = voxel_size(chosen, letters_of(chosen))
        array = arranged(chosen[()].view(meant_type(chosen)), axes)
    return Volume(native(array), size, diagonal_affine(size), "um" if size else "unknown")


def channel_names(path: Path, dataset: str | None = None) -> list[str]:
    """What a dataset (C, Z, Y, X) says its channels are, nothing where it does not; the choice is that of `read`."""
    with decoding(path, "HDF5"), h5py.File(path, "r") as file:
        return attribute.channel_names(_found(file, dataset, 4, path).attrs)


def write(
    path: Path,
    array: np.ndarray,
    size: Sequence[float] | None,
    dataset: str,
    names: Sequence[str] = (),
) -> None:
    """Write (Z, Y, X) or (C, Z, Y, X) in gzip-compressed chunks. Memory: 32 planes beside the array."""
    depth = min(32, array.shape[-3])
    chunks = (*(1 for _ in array.shape[:-3]), depth, *(min(128, size) for size in array.shape[-2:]))
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(dataset, array.shape, array.dtype, chunks=chunks, compression="gzip", shuffle=True)
        for index in np.ndindex(array.shape[:-3]):
            for start in range(0, array.shape[-3], depth):  # whole chunks, so that none is compressed twice
                part = (*index, slice(start, start + depth))
                stored[part] = array[part]
        if size is not None:
            stored.attrs["element_size_um"] = np.asarray(size, dtype=float)
        if names:
            stored.attrs[NAMES_ATTRIBUTE] = list(names)


def choose(file: h5py.File, dataset: str | None, ndim: int, path: Path) -> tuple[h5py.Dataset, tuple[int, ...]]:
    """Return the dataset that `read` reads, and which of its axes are (Z, Y, X) or (C, Z, Y, X).

    Raises:
        InputError: as `read`, but for damage.
    """
    chosen = _found(file, dataset, ndim, path)
    name = f"{path}::{chosen.name.lstrip('/')}"
    numeric(chosen.dtype, name)
    require_filters(chosen)
    return chosen, arrange(letters_of(chosen), chosen.shape or (), ndim, name)


def _found(file: h5py.File, dataset: str | None, ndim: int, path: Path) -> h5py.Dataset:
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, node: found.update({name: node}) if isinstance(node, h5py.Dataset) else None)
    listing = ", ".join(f"{name} {node.shape} {node.dtype}" for name, node in found.items()) or "none"
    if dataset is not None:
        if dataset.strip("/") not in found:
            raise InputError(f"{path}: no dataset {dataset!r}; it has: {listing}.")
        return found[dataset.strip("/")]
    fitting = [node for node in found.values() if len(kept_axes(node.shape or (), ndim)) == ndim]
    if len(found) == 1 or len(fitting) == 1:
        return next(iter(fitting or found.values()))
    raise InputError(f"{path}: which dataset? It has: {listing}. Name one that is {ndim}D: {path}::name.")
