"""Datasets of HDF5 files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np
from scripts.errors import InputError
from scripts.volume_io.attribute import NAMES_ATTRIBUTE, channel_names
from scripts.volume_io.axis import arrange, kept_axes
from scripts.volume_io.chunked import ChunkedVolume, Layout, plane_chunks
from scripts.volume_io.hdf5_header import letters_of, meant_type, require_filters, voxel_size
from scripts.volume_io.hdf5_link import Opener, datasets_below, opened
from scripts.volume_io.hdf5_member import examine
from scripts.volume_io.hdf5_sink import Sink
from scripts.volume_io.paths import decoding
from scripts.volume_io.volume import numeric

__all__ = ["NAMES_ATTRIBUTE", "Hdf5Volume", "files", "open_parts", "write"]

# datasets that a message lists
MOST = 24


class Hdf5Volume(ChunkedVolume):
    """A dataset; the file stays open in each process that reads, until `close`."""

    kind = "HDF5"

    def __init__(self, path: Path, layout: Layout, dataset: str) -> None:
        super().__init__(path, layout)
        self._dataset = dataset

    def _open(self) -> Any:
        opener = Opener(self._path, [self._path])
        dataset = opened(opener, self._dataset)
        require_filters(dataset)  # of this process
        return _Stored(opener, dataset)

    def _read(self, source: Any, box: tuple[slice, ...]) -> np.ndarray:
        return source.dataset[box].view(self._layout.dtype)

    def _shut(self, source: Any) -> None:
        source.opener.close()


class _Stored(NamedTuple):
    opener: Opener
    dataset: h5py.Dataset

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dataset.shape


def open_parts(path: Path, dataset: str | None, ndim: int) -> Hdf5Volume:
    """Open a dataset of `ndim` axes, whatever their order; axes of length 1 beyond these are dropped.

    Args:
        path: the file.
        dataset: the name of the dataset; None takes the only one that has `ndim` axes.
        ndim: 3 for (Z, Y, X), 4 for (C, Z, Y, X).

    Raises:
        InputError: no such dataset, none or several to choose from, other axes, no numbers, or a damaged file.
    """
    with decoding(path, "HDF5"), Opener(path, [path]) as opener:
        inner, found = _found(opener, dataset, ndim)
        name = f"{path}::{inner}"
        numeric(found.dtype, name)
        require_filters(found)
        letters = letters_of(found)
        axes = arrange(letters, found.shape or (), ndim, name)
        layout = Layout(
            name,
            found.shape,
            meant_type(found),
            found.chunks or plane_chunks(found.shape),
            axes,
            voxel_size(found, letters),
            channel_names(found.attrs),
            absent=examine(found, opener),
        )
    return Hdf5Volume(path, layout, inner)


def files(path: Path, dataset: str | None = None) -> list[Path]:
    """Return the files that the dataset of three axes is read from, or of four; errors are as for `open_parts`."""
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
