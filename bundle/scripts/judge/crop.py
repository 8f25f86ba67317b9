"""Crops of a volume in which there is something to see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import prod

import numpy as np
from scripts.errors import InputError
from scripts.match_domains.piece import Readable, block_means, grey_range, normalised
from scripts.volume_io.grid import Box

__all__ = ["COUNT", "SIZE", "affordable", "chosen_crops"]

SIZE = (64, 192, 192)
SEEN = prod(SIZE) // 4
"""Most voxels of a crop after scaling, which the time depends on: as many as `SIZE` has at half the sides in plane."""
COUNT = 2
BLOCK = (2, 4, 4)
"""Voxels (z, y, x) that are averaged first, so that noise is not taken for contrast."""


def affordable(scales: Iterable[Sequence[float]]) -> tuple[int, ...]:
    """Return the size of a crop (z, y, x): `SIZE`, or less where a network would see more than `SEEN` voxels of it.

    Args:
        scales: factors (z, y, x) by which each model scales the volume.
    """
    largest = max(map(prod, scales), default=0.0)
    shrink = min(1.0, (SEEN / (largest * prod(SIZE))) ** (1 / 3)) if largest else 1.0
    return tuple(max(1, round(side * shrink)) for side in SIZE)


def chosen_crops(image: Readable, size: Sequence[int] = SIZE, count: int = COUNT) -> list[Box]:
    """Choose the crops with the most contrast, of those that tile a volume.

    Memory: 4 bytes per voxel of one crop, and a row of crops along x as it is stored.

    Args:
        image: (Z, Y, X) of any numeric type; a file is read row by row.
        size: of a crop (z, y, x) in voxels; a shorter side is taken whole.
        count: at most so many.

    Returns:
        Boxes that do not overlap, the one with the most contrast first.

    Raises:
        InputError: a side or the number is below 1.
    """
    if len(size) != 3 or min(size) < 1 or count < 1:
        raise InputError(f"crops: found {count} of {tuple(size)} voxels, expected 1 or more of three sides above 0.")
    boxes = _tiled(image.shape, size)
    if len(boxes) <= count:
        return boxes
    window = grey_range(image)
    contrast: list[float] = []
    for (z, y), row in groupby(boxes, lambda box: box[:2]):
        strip = image[z, y, :]
        contrast += [_contrast(strip[..., x], window) for _, _, x in row]
    return [boxes[i] for i in np.argsort(contrast, kind="stable")[::-1][:count]]


def _tiled(shape: Sequence[int], size: Sequence[int]) -> list[Box]:
    """Boxes of one size that lie side by side, spread over the volume."""
    sides = [min(side, wanted) for side, wanted in zip(shape, size, strict=True)]
    starts = []
    for whole, side in zip(shape, sides, strict=True):
        number = whole // side
        gap = (whole - number * side) / (number + 1)
        starts.append([round(gap * (k + 1)) + k * side for k in range(number)])
    return [
        (slice(z, z + sides[0]), slice(y, y + sides[1]), slice(x, x + sides[2]))
        for z in starts[0]
        for y in starts[1]
        for x in starts[2]
    ]


def _contrast(crop: np.ndarray, window: Sequence[float]) -> float:
    blocks = [min(side, block) for side, block in zip(crop.shape, BLOCK, strict=True)]
    return float(block_means(normalised(crop, window), blocks).std())
