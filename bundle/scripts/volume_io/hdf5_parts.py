"""Datasets of HDF5 files, read part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from scripts.volume_io import hdf5
from scripts.volume_io.attribute import channel_names
from scripts.volume_io.chunked import ChunkedVolume, Layout, plane_chunks
from scripts.volume_io.hdf5_header import letters_of, meant_type, require_filters, voxel_size
from scripts.volume_io.paths import decoding

__all__ = ["Hdf5Volume", "open_parts"]


class Hdf5Volume(ChunkedVolume):
    """A dataset; the file stays open in each process that reads, until `close`."""

    kind = "HDF5"

    def __init__(self, path: Path, layout: Layout, dataset: str) -> None:
        super().__init__(layout)
        self._path, self._dataset = path.absolute(), dataset

    def _open(self) -> Any:
        source = h5py.File(self._path, "r")[self._dataset]
        require_filters(source)  # of this process
        return source

    def _read(self, source: Any, box: tuple[slice, ...]) -> np.ndarray:
        return source[box].view(self._layout.dtype)

    def _shut(self, source: Any) -> None:
        source.file.close()


def open_parts(path: Path, dataset: str | None, ndim: int) -> Hdf5Volume:
    """Open a dataset; the choice and the errors are those of `hdf5.read`."""
    with decoding(path, "HDF5"), h5py.File(path, "r") as file:
        chosen, axes = hdf5.choose(file, dataset, ndim, path)
        layout = Layout(
            f"{path}::{chosen.name.lstrip('/')}",
            chosen.shape,
            meant_type(chosen),
            chosen.chunks or plane_chunks(chosen.shape),
            axes,
            voxel_size(chosen, letters_of(chosen)),
            channel_names(chosen.attrs),
        )
        return Hdf5Volume(path, layout, chosen.name)
