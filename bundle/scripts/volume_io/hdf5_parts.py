"""Datasets of HDF5 files, read part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from scripts.volume_io import hdf5
from scripts.volume_io.chunked import ChunkedVolume, Layout, plane_chunks
from scripts.volume_io.hdf5_header import require_filters
from scripts.volume_io.hdf5_link import Opener, opened
from scripts.volume_io.paths import decoding

__all__ = ["Hdf5Volume", "open_parts"]


class Hdf5Volume(ChunkedVolume):
    """A dataset; the file stays open in each process that reads, until `close`."""

    kind = "HDF5"

    def __init__(self, path: Path, layout: Layout, dataset: str) -> None:
        super().__init__(layout)
        self._path, self._dataset = path.absolute(), dataset

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
    """Open a dataset; the choice and the errors are those of `hdf5.read`."""
    with decoding(path, "HDF5"), Opener(path, [path]) as opener:
        chosen = hdf5.choose(opener, dataset, ndim)
        stored = chosen.dataset
        layout = Layout(
            chosen.name,
            stored.shape,
            chosen.dtype,
            stored.chunks or plane_chunks(stored.shape),
            chosen.axes,
            chosen.voxel_size,
            chosen.channel_names,
            absent=chosen.absent,
        )
        return Hdf5Volume(path, layout, chosen.name.removeprefix(f"{path}::"))
