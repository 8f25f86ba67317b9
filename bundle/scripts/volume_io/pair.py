"""Labels read onto the grid of their image."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scripts.volume_io.chunked import Box, ChunkedVolume
from scripts.volume_io.files import open_volume
from scripts.volume_io.placement import Turn, turn_to

__all__ = ["open_label", "read_label"]

Name = str | os.PathLike[str]


def read_label(label: Name, image: Name, dataset: str | None = None, image_dataset: str | None = None) -> np.ndarray:
    """Read a label as (Z, Y, X) on the grid of its image, of which the header is read.

    Memory: that of `read_volume`; twice that while a label is turned.

    Args:
        label: a volume that lies over the image: labels, instances, seeds.
        image: the image.
        dataset: for HDF5 and Zarr, the label's where `label` names none.
        image_dataset: the same of the image.

    Raises:
        InputError: as `read_volume` and `turn_to`.
    """
    return open_label(label, open_volume(image, image_dataset), dataset).whole().array


def open_label(label: Name, image: ChunkedVolume, dataset: str | None = None) -> ChunkedVolume:
    """Open a label to read parts of it on the grid of its image.

    Raises:
        InputError: as `open_volume` and `turn_to`.
    """
    opened = open_volume(label, dataset)
    turn = turn_to(image.place, opened.place)
    return TurnedVolume(opened, turn) if turn.moves else opened


class TurnedVolume(ChunkedVolume):
    """A volume read as if its axes were stored in another order or direction. Memory: that of the volume.

    Args:
        volume: as stored.
        turn: what is done with it.
    """

    def __init__(self, volume: ChunkedVolume, turn: Turn) -> None:
        super().__init__(volume._path, volume._layout._replace(affine=None, placed=False))  # that of the stored axes
        self.volume, self.turn = volume, turn
        self.shape, self.chunks = turn.shape(volume.shape), turn.shape(volume.chunks)
        if volume.voxel_size is not None:
            z, y, x = (volume.voxel_size[axis] for axis, _ in turn.sources())
            self.voxel_size = (z, y, x)

    def __getitem__(self, box: Box) -> np.ndarray:
        """Read a part of the turned volume, as `ChunkedVolume`."""
        stored: list[Any] = [slice(None)] * 3
        for part, (axis, sign), side in zip(self._resolved(box), self.turn.sources(), self.shape, strict=True):
            stored[axis] = part if sign > 0 else slice(side - part.stop, side - part.start)
        return np.ascontiguousarray(self.turn(self.volume[tuple(stored)]))

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self.volume.close()
