"""The watershed of foreground, contour and distance maps: thresholds, seeds, flood, small instances, size."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import cc3d
import numpy as np
from scipy.ndimage import find_objects
from skimage.segmentation import watershed
from skimage.transform import resize

from scripts.errors import InputError
from scripts.watershed.small_instance import SMALL_MODES, drop_small, handle_small
from scripts.watershed.threshold import CHANNELS, Rule, is_unit_scale, threshold

__all__ = ["BCDWatershed", "BCWatershed", "bc_watershed", "bcd_watershed"]

HEIGHTS = ("foreground", "distance")


def _quiet(stage: str) -> None:
    """Report nothing."""


def bcd_watershed(
    maps: np.ndarray,
    *,
    seed_foreground: float = 0.9,
    seed_contour: float = 0.2,
    mask_foreground: float = 0.7,
    seed_distance: float = 0.5,
    mask_distance: float = -0.1,
    min_seed_size: int = 32,
    min_instance_size: int = 256,
    small_mode: str = "background",
    scale_factors: Sequence[float] = (1, 1, 1),
    height: str = "foreground",
    seeds: np.ndarray | None = None,
    return_seeds: bool = False,
    on_stage: Callable[[str], Any] = _quiet,
) -> Any:
    """Instances from foreground, contour and distance maps; the thresholds are explained in :mod:`scripts.watershed`.

    Args:
        maps: foreground, contour, distance, (3, Z, Y, X): integers 0..255, or floats 0..1 or 0..255 (told apart by
            the largest value, as the log says). A distance of -1 is 0, one of 1 the top of the scale.
        seed_foreground: for seeds, foreground above.
        seed_contour: for seeds, contour below.
        mask_foreground: for instances, foreground above.
        seed_distance: for seeds, distance above.
        mask_distance: for instances, distance above.
        min_seed_size: in voxels.
        min_instance_size: in voxels.
        small_mode: small instances become "background", join a "neighbor" (the one most of their in-plane border
            touches), either by section with "_2d" appended, or stay ("none").
        scale_factors: (z, y, x) by which the labels are resized in the end.
        height: the map whose hills are flooded from the top, "foreground" or "distance".
        seeds: whole numbers (Z, Y, X) to flood from, in place of those found.
        return_seeds: give the seeds as well.
        on_stage: called with the name of each of `scripts.watershed.STAGES` as it begins.

    Returns:
        Labels (Z, Y, X) of the smallest unsigned type that holds the largest id, or (labels, seeds). Ids are those of
        the seeds, numbered in the order of their first voxels; dropped ids leave gaps.

    Raises:
        InputError: when maps or seeds do not fit, or a name is unknown.
    """
    rule = Rule(3, seed_foreground, seed_contour, mask_foreground, seed_distance, mask_distance)
    sizes = (min_seed_size, min_instance_size)
    labels, seeds = _decode(maps, rule, sizes, small_mode, scale_factors, seeds, height, on_stage)
    return (labels, seeds) if return_seeds else labels


def bc_watershed(
    maps: np.ndarray,
    *,
    seed_foreground: float = 0.9,
    seed_contour: float = 0.8,
    mask_foreground: float = 0.85,
    min_seed_size: int = 32,
    min_instance_size: int = 128,
    small_mode: str = "background",
    scale_factors: Sequence[float] = (1, 1, 1),
    seeds: np.ndarray | None = None,
    return_seeds: bool = False,
    on_stage: Callable[[str], Any] = _quiet,
) -> Any:
    """Instances from foreground and contour maps (2, Z, Y, X); otherwise as :func:`bcd_watershed`."""
    rule, sizes = Rule(2, seed_foreground, seed_contour, mask_foreground), (min_seed_size, min_instance_size)
    labels, seeds = _decode(maps, rule, sizes, small_mode, scale_factors, seeds, on_stage=on_stage)
    return (labels, seeds) if return_seeds else labels


class BCDWatershed:
    """Decoder: maps (3, Z, Y, X) to labels (Z, Y, X).

    Args:
        options: as for :func:`bcd_watershed`.
    """

    decode: Callable[..., Any] = staticmethod(bcd_watershed)

    def __init__(self, **options: Any) -> None:
        inspect.signature(self.decode).bind(None, **options)  # a misspelt name fails here, not after the inference
        self.options = options

    def __call__(self, maps: np.ndarray, on_stage: Callable[[str], Any] = _quiet) -> np.ndarray:
        """Decode one volume."""
        return self.decode(maps, on_stage=on_stage, **self.options)


class BCWatershed(BCDWatershed):
    """Decoder: maps (2, Z, Y, X) to labels (Z, Y, X).

    Args:
        options: as for :func:`bc_watershed`.
    """

    decode = staticmethod(bc_watershed)


def _decode(
    maps: np.ndarray,
    rule: Rule,
    sizes: tuple[int, int],
    small_mode: str,
    scale_factors: Sequence[float],
    seeds: np.ndarray | None,
    height: str = "foreground",
    on_stage: Callable[[str], Any] = _quiet,
) -> tuple[np.ndarray, np.ndarray]:
    """The stages of the watershed: labels and seeds; each large array goes as soon as it was used."""
    maps = np.asarray(maps)
    _check_choices(small_mode, height, scale_factors)
    unit = is_unit_scale(maps, rule.channels)
    if seeds is not None:
        seeds = _checked_seeds(np.asarray(seeds), maps.shape[1:])
    on_stage("thresholds")
    mask, found, hills = threshold(maps, rule, unit, CHANNELS.index(height))
    on_stage("seeds")
    if seeds is None:
        seeds = _number(found, sizes[0])
    del found
    on_stage("flood")
    labels = _flood(hills, seeds, mask)
    del hills, mask
    on_stage("small instances")
    handle_small(labels, sizes[1], small_mode)
    on_stage("scale")
    return _resized(_narrow(labels), scale_factors), seeds


def _check_choices(small_mode: str, height: str, factors: Sequence[float]) -> None:
    for name, found, choices in (("small_mode", small_mode, SMALL_MODES), ("height", height, HEIGHTS)):
        if found not in choices:
            raise InputError(f"{name}: found {found!r}, expected one of {', '.join(choices)}.")
    if np.shape(factors) != (3,) or min(factors) <= 0:
        raise InputError(f"scale_factors: found {factors}, expected three numbers (z, y, x) above 0.")


def _checked_seeds(seeds: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    low, high = seeds.min(initial=0), seeds.max(initial=0)
    if seeds.shape != shape or seeds.dtype.kind not in "iu" or low < 0 or high > np.iinfo(np.int32).max:
        found = f"shape {seeds.shape}, {seeds.dtype}, {low} to {high}"
        raise InputError(f"seeds: found {found}; expected whole numbers from 0 on, shape {shape} as the maps have.")
    return seeds.astype(np.int32, copy=False)


def _number(found: np.ndarray, min_size: int) -> np.ndarray:
    """Seeds: 26-connected groups of voxels, numbered in the order of their first voxel; small ones dropped."""
    seeds = cc3d.connected_components(found, connectivity=26, out_dtype=np.uint32).view(np.int32)
    drop_small(seeds, min_size)
    return seeds


def _flood(hills: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels from flooding the mask; the box around the mask gives the same as the volume, with less memory."""
    labels = np.zeros(mask.shape, np.int32)
    for box in find_objects(mask.view(np.uint8)):
        labels[box] = watershed(hills[box], seeds[box], mask=mask[box])
    return labels


def _narrow(labels: np.ndarray) -> np.ndarray:
    """Labels in the smallest unsigned type that holds them."""
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))), copy=False)


def _resized(labels: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """Labels enlarged by (z, y, x) factors, nearest neighbour as scikit-image's resize takes it."""
    for axis, (size, factor) in enumerate(zip(labels.shape, factors, strict=True)):
        if factor != 1:
            line = np.arange(size, dtype=float)
            source = resize(line, (int(size * factor),), order=0, anti_aliasing=False, preserve_range=True)
            labels = np.take(labels, np.rint(source).astype(np.intp), axis=axis)
    return labels
