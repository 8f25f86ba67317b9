"""Datasets of HDF5 files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import h5py
import numpy as np
from scripts.errors import InputError
from scripts.volume_io import attribute
from scripts.volume_io.absent import Absent, report_absent
from scripts.volume_io.attribute import NAMES_ATTRIBUTE
from scripts.volume_io.axis import arrange, kept_axes
from scripts.volume_io.chunked import arranged
from scripts.volume_io.hdf5_header import letters_of, meant_type, require_filters, voxel_size
from scripts.volume_io.hdf5_link import Opener, datasets_below, opened
from scripts.volume_io.hdf5_member import examine
from scripts.volume_io.hdf5_sink import Sink
from scripts.volume_io.paths import decoding
from scripts.volume_io.volume import Volume, check_memory, diagonal_affine, native, numeric

__all__ = ["NAMES_ATTRIBUTE", "Chosen", "channel_names", "choose", "files", "read", "write"]

# datasets that a message lists
MOST = 24


class Chosen(NamedTuple):
    """A dataset that is read.

    Attributes:
        dataset: open, maybe of another file that a link leads to.
        name: path as given, with the dataset, for messages.
        axes: which of its axes are (Z, Y, X) or (C, Z, Y, X), in this order.
        dtype: of its values.
        voxel_size: (z, y, x) in micrometres, None where the file does not say.
        channel_names: nothing where the file does not say.
        absent: what of it was never written.
    """

    dataset: h5py.Dataset
    name: str
    axes: tuple[int, ...]
    dtype: np.dtype
    voxel_size: tuple[float, float, float] | None
    channel_names: Sequence[str]
    absent: Absent | None


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
    with decoding(path, "HDF5"), Opener(path, [path]) as opener:
        chosen = choose(opener, dataset, ndim)
        check_memory(chosen.dataset.shape, chosen.dtype, chosen.name)
        report_absent(chosen.name, chosen.absent)
        size = chosen.voxel_size
        array = arranged(chosen.dataset[()].view(chosen.dtype), chosen.axes)
    return Volume(native(array), size, diagonal_affine(size), "um" if size else "unknown")


def channel_names(path: Path, dataset: str | None = None) -> list[str]:
    """What a dataset (C, Z, Y, X) says its channels are, nothing where it does not; the choice is that of `read`."""
    with decoding(path, "HDF5"), Opener(path, [path]) as opener:
        return attribute.channel_names(_found(opener, dataset, 4)[1].attrs)


def files(path: Path, dataset: str | None = None) -> list[Path]:
    """Return the files that the dataset of three axes is read from, or that of four; the errors are those of `read`."""
    with decoding(path, "HDF5"), Opener(path, [path]) as opener:
        try:
            chosen = _found(opener, dataset, 3)[1]
        except InputError:
            chosen = _found(opener, dataset, 4)[1]
        examine(chosen, opener)
        return list(dict.fromkeys(opener.files))


def write(
    path: Path,
    array: np.ndarray,
    size: Sequence[float] | None,
    dataset: str,
    names: Sequence[str] = (),
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write (Z, Y, X) or (C, Z, Y, X) in gzip-compressed chunks. Memory: 32 planes beside the array.

    Raises:
        OSError: no space left, or another error of the disk.
    """
    depth = min(32, array.shape[-3])
    chunks = (*(1 for _ in array.shape[:-3]), depth, *(min(128, size) for size in array.shape[-2:]))
    with closing(Sink(path)) as sink:
        with h5py.File(sink, "w") as file:
            stored = file.create_dataset(
                dataset, array.shape, array.dtype, chunks=chunks, compression="gzip", shuffle=True
            )
            if size is not None:
                stored.attrs["element_size_um"] = np.asarray(size, dtype=float)
            file.attrs.update(attributes)
            if names:
                stored.attrs[NAMES_ATTRIBUTE] = list(names)
            _fill(stored, array, sink)
        sink.sync()


def _fill(stored: h5py.Dataset, array: np.ndarray, sink: Sink) -> None:
    depth = stored.chunks[-3]
    for index in np.ndindex(array.shape[:-3]):
        for start in range(0, array.shape[-3], depth):  # whole chunks, so that none is compressed twice
            part = (*index, slice(start, start + depth))
            stored[part] = array[part]
            stored.file.flush()
            sink.check()


def choose(opener: Opener, dataset: str | None, ndim: int) -> Chosen:
    """Return the dataset that `read` reads, whose parts are all there; it is open as long as `opener` is.

    Raises:
        InputError: as `read`, but for damage.
    """
    inner, found = _found(opener, dataset, ndim)
    name = f"{opener.volume}::{inner}"
    numeric(found.dtype, name)
    require_filters(found)
    letters = letters_of(found)
    axes = arrange(letters, found.shape or (), ndim, name)
    channels = attribute.channel_names(found.attrs)
    said = (name, axes, meant_type(found), voxel_size(found, letters), channels, examine(found, opener))
    del found
    return Chosen(opened(opener, inner), *said)


def _found(opener: Opener, dataset: str | None, ndim: int) -> tuple[str, h5py.Dataset]:
    """Return the dataset, and its name in the volume's file."""
    node = None if dataset is None else opener.find(dataset)
    if dataset is not None and isinstance(node, h5py.Dataset):
        return dataset.strip("/"), node
    found, broken = datasets_below(opener, opener.top)
    named = [f"{name} {node.shape} {node.dtype}" for name, node in found.items()] + broken
    listing = ", ".join(named[:MOST]) + (", …" if len(named) > MOST else "") or "none"
    if dataset is not None:
        raise InputError(f"{opener.volume}: no dataset {dataset!r}; it has: {listing}.")
    fitting = [name for name, node in found.items() if len(kept_axes(node.shape or (), ndim)) == ndim]
    if len(found) == 1 or len(fitting) == 1:
        name = next(iter(fitting or found))
        return name, found[name]
    advice = f"Name one that is {ndim}D: {opener.volume}::name."
    raise InputError(f"{opener.volume}: which dataset? It has: {listing}. {advice}")
