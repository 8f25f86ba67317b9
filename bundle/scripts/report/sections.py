"""Volumes of any size, read once and part by part: sections along each axis, and what is counted of the parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scripts.volume_io.grid import Box, Grid

__all__ = ["Sections", "parts_of", "section_places"]

MOST, SIDE = 32, 448
"""Sections along an axis, and voxels along a side of one, at most."""
VOXELS = 2**24
"""Read at once, unless the file cannot be read in parts so small."""


def section_places(side: int) -> list[int]:
    """Where an axis of so many voxels is cut: everywhere, or at `MOST` places spread evenly from end to end."""
    return sorted({round(place) for place in np.linspace(0, side - 1, min(side, MOST)).tolist()})


def parts_of(volume: Any) -> Iterator[tuple[Box, np.ndarray]]:
    """Read a volume (Z, Y, X), an array or a `scripts.volume_io.ChunkedVolume`, box by box, each voxel once.

    Memory: about 17 million voxels, or a chunk (of a TIFF a plane) where it is larger; a few planes more of a volume
    with a side of more than 448 voxels.
    """
    grid = Grid.of(volume.shape, _block(volume))
    for number in range(len(grid)):
        box = grid.core(number)
        yield box, np.asarray(volume[box])


class Sections:
    """Sections of a volume along z, y and x, put together from its parts.

    A side of more than `SIDE` voxels is shrunk by a whole number: images to the mean of the voxels in the plane, labels
    to the first of them. Memory: at most 20 million values, float32 for images.

    Args:
        shape: (Z, Y, X).
        dtype: of labels; None for an image.

    Attributes:
        shape: of the volume.
        places: for each axis where it is cut.
        pictures: for each axis an array (sections, H, W).
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype | None = None) -> None:
        self.shape, self.labels = tuple(shape), dtype is not None
        self.factors = _factors(shape)
        self.places = [section_places(side) for side in shape]
        sides = [side // factor for side, factor in zip(shape, self.factors, strict=True)]
        self.pictures = [
            np.zeros((len(places), *(side for other, side in enumerate(sides) if other != axis)), dtype or np.float32)
            for axis, places in enumerate(self.places)
        ]

    def add(self, box: Box, part: np.ndarray) -> None:
        """Take in a part as `parts_of` gives it."""
        for axis, places in enumerate(self.places):
            rows, columns = (other for other in range(3) if other != axis)
            top, left = (box[other].start // self.factors[other] for other in (rows, columns))
            for number, place in enumerate(places):
                if box[axis].start <= place < box[axis].stop:
                    plane = part.take(place - box[axis].start, axis)
                    small = self._shrunk(plane, self.factors[rows], self.factors[columns])
                    height, width = small.shape
                    self.pictures[axis][number, top : top + height, left : left + width] = small

    def _shrunk(self, plane: np.ndarray, down: int, across: int) -> np.ndarray:
        height, width = plane.shape[0] // down, plane.shape[1] // across
        cells = plane[: height * down, : width * across].reshape(height, down, width, across)
        return cells[:, 0, :, 0] if self.labels else cells.mean(axis=(1, 3), dtype=np.float32)


def _factors(shape: Sequence[int]) -> list[int]:
    return [math.ceil(side / SIDE) for side in shape]


def _block(volume: Any) -> list[int]:
    """Chunks, each side a multiple of what becomes one pixel, joined to about `VOXELS` along x, then y, then z."""
    chunks = getattr(volume, "chunks", (1, *volume.shape[1:]))
    steps = _factors(volume.shape)
    block = [math.ceil(min(c, n) / step) * step for c, n, step in zip(chunks, volume.shape, steps, strict=True)]
    for axis in (2, 1, 0):
        room = max(1, VOXELS // math.prod(block))
        block[axis] *= min(room, math.ceil(volume.shape[axis] / block[axis]))
    return block
