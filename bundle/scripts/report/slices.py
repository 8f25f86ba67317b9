"""The three cuts through a volume that the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from scripts.errors import InputError

__all__ = ["Volume", "check_shapes", "cut_maps", "cut_volume", "densest_cuts", "stretched"]

Volume: TypeAlias = Any
"""Anything with `shape` that slices cut: an array, a memory map, a `scripts.volume_io.ChunkedVolume`."""

PLACES = (0, -0.07, 0.07, -0.14, 0.14, -0.21, 0.21)
"""Where cuts may go, as shares of the side from the middle."""


def check_shapes(image: Volume, maps: Volume | None, others: Mapping[str, Volume | None]) -> None:
    """Compare (Z, Y, X) of all volumes with that of the image.

    Raises:
        InputError: at the first that differs, by name.
    """
    if len(image.shape) != 3:
        raise InputError(f"the image has shape {tuple(image.shape)}; expected (z, y, x)")
    shapes = {name: tuple(volume.shape) for name, volume in others.items() if volume is not None}
    if maps is not None:
        shapes["maps"] = tuple(maps.shape[1:])
    for name, shape in shapes.items():
        if shape != tuple(image.shape):
            raise InputError(f"{name}: shape {shape}, while the image has {tuple(image.shape)}; expected the same")


def densest_cuts(labels: Volume | None, maps: Volume | None, channel: int, shape: Sequence[int]) -> list[int]:
    """For z, y and x, of seven places around the middle the one with most foreground.

    Args:
        labels: integer labels (Z, Y, X), asked first.
        maps: (M, Z, Y, X), asked where there are no labels.
        channel: the map to ask.
        shape: (Z, Y, X); the cuts go through its middle where there is nothing to ask.

    Returns:
        One index for each axis.
    """
    if labels is None and maps is None:
        return [side // 2 for side in shape]

    def foreground(axis: int, index: int) -> float:
        if labels is not None:
            return float(np.count_nonzero(_cut(labels, axis, index)))
        return float(_cut_map(maps, channel, axis, index).mean())

    places = [[side // 2 + round(share * side) for share in PLACES] for side in shape]
    return [max(at, key=partial(foreground, axis)) for axis, at in enumerate(places)]


def cut_volume(volume: Volume, cuts: Sequence[int]) -> list[np.ndarray]:
    """The slices z = cuts[0] (Y, X), y = cuts[1] (Z, X) and x = cuts[2] (Z, Y)."""
    return [_cut(volume, axis, index) for axis, index in enumerate(cuts)]


def cut_maps(maps: Volume, channel: int, cuts: Sequence[int]) -> list[np.ndarray]:
    """The same of one channel of maps (M, Z, Y, X); uint8 is scaled to [0, 1]."""
    return [_cut_map(maps, channel, axis, index) for axis, index in enumerate(cuts)]


def stretched(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Slices with the grey values of their common percentiles 0.3 and 99.7 brought to 0 and 1, float32."""
    low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]).astype(np.float32), (0.3, 99.7))
    return [np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) for plane in planes]


def _cut(volume: Volume, axis: int, index: int) -> np.ndarray:
    return np.asarray(volume[(slice(None),) * axis + (slice(index, index + 1),)]).take(0, axis)


def _cut_map(maps: Volume, channel: int, axis: int, index: int) -> np.ndarray:
    where = (slice(channel, channel + 1), *(slice(None),) * axis, slice(index, index + 1))
    plane = np.asarray(maps[where])[0].take(0, axis)
    return plane / np.float32(255) if plane.dtype == np.uint8 else plane
