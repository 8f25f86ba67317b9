"""Maps compared with thresholds, on the 0..255 scale whatever scale they come in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.watershed.flood import blocked_value

__all__ = ["CHANNELS", "Rule", "byte_scale", "empty_heights", "is_unit_scale", "threshold"]

logger = logging.getLogger(__name__)
CHANNELS = ("foreground", "contour", "distance")
_SLACK = 1e-3  # what the rounding errors of blending and scaling stay below


class Rule(NamedTuple):
    """Thresholds: of foreground and contour 0 to 1, of the distance, if there is one, -1 to 1."""

    seed_foreground: float
    seed_contour: float
    mask_foreground: float
    seed_distance: float = 0.5
    mask_distance: float = -0.1


def is_unit_scale(maps: np.ndarray, names: Sequence[str], more: bool = False) -> bool:
    """Whether maps (C, Z, Y, X) are floats 0..1 rather than 0..255; logs what it takes all but bytes for.

    Args:
        maps: to look at.
        names: what the C channels are to be.
        more: whether further channels of the last kind may follow.

    Raises:
        InputError: when they are neither, or are not so many.
    """
    fits = maps.ndim == 4 and (len(maps) == len(names) or (more and len(maps) > len(names)))
    if not fits or not maps.size or maps.dtype.kind not in "iuf":
        count = f"{len(names)} or more" if more else f"{len(names)}"
        expected = f"{', '.join(names)}, so shape ({count}, Z, Y, X), numbers 0..255 or 0..1"
        raise InputError(f"maps: found shape {maps.shape}, {maps.dtype}; expected {expected}.")
    low, high = float(maps.min()), float(maps.max())
    if not (low >= -_SLACK and high <= 255 + _SLACK):  # also catches NaN
        raise InputError(f"maps: found values from {low:g} to {high:g}; expected 0..255, or floats 0..1.")
    unit = maps.dtype.kind == "f" and high <= 1 + _SLACK
    if maps.dtype != np.uint8:
        scale = "0..1" if unit else "0..255"
        logger.log(logging.INFO if unit else logging.WARNING, "maps: %s up to %g taken as %s", maps.dtype, high, scale)
    return unit


def byte_scale(section: np.ndarray, unit: bool) -> np.ndarray:
    """A section on the 0..255 scale; multiples of 1/255 become whole, so that bytes divided by 255 decode as bytes."""
    if unit:
        value = section.astype(np.float64) * 255
        whole = np.rint(value)
        return np.where(np.abs(value - whole) < _SLACK, whole, value)
    return section.astype(np.uint8, copy=False) if section.dtype.kind in "iu" else section


def threshold(maps: np.ndarray, unit: bool, rule: Rule, height: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Heights to flood and seed voxels, (Z, Y, X) each; by section, so that no float copy of all is made.

    The flood looks at the order of heights alone, so that of bytes 255 - f does what -f does.

    Returns:
        Heights, low where the map named by `height` is high: uint8 for integer maps (uint16 where the mask may hold a
        0), outside the mask `blocked_value`; for others floats, outside the mask infinite. And seed voxels, bool.
    """
    low, high, wall = (int(255 * t) for t in (rule.mask_foreground, rule.seed_foreground, rule.seed_contour))
    found = np.empty(maps.shape[1:], bool)
    holds_0 = rule.mask_distance < -1 if height else low < 0
    heights = empty_heights(maps, np.dtype(np.uint16 if holds_0 else np.uint8))
    for z in range(maps.shape[1]):
        foreground, contour, *distance = sections = [byte_scale(section, unit) for section in maps[:, z]]
        mask = foreground > low
        found[z] = (foreground > high) & (contour < wall)
        if distance:
            signed = distance[0] / 255.0 * 2.0 - 1.0  # in the precision of the maps, as the reference does
            mask &= signed > rule.mask_distance
            found[z] &= signed > rule.seed_distance
        np.copyto(heights[z], ~sections[height] if maps.dtype.kind in "iu" else -sections[height], where=mask)
    return heights, found


def empty_heights(maps: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Heights (Z, Y, X), nothing in the mask yet: of an integer type for integer maps, of floats for others."""
    if maps.dtype.kind in "iu":
        return np.full(maps.shape[1:], blocked_value(dtype), dtype)
    return np.full(maps.shape[1:], np.inf, np.promote_types(maps.dtype, np.float32))
