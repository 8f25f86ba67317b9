"""What every watershed does, whatever its maps: thresholds, seeds, flood, small instances, size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scripts.component import connected_components
from scripts.errors import InputError
from scripts.watershed.fine import flood_floats
from scripts.watershed.flood import LEVELS, blocked_value, flood
from scripts.watershed.small_instance import SMALL_MODES, close_gaps, drop_small, handle_small
from scripts.watershed.threshold import is_unit_scale
from scripts.watershed.turn import flood_by_heap
from skimage.transform import resize

__all__ = ["TIES", "Recipe", "check_choices", "decode", "flood_any", "quiet"]

TIES = ("raster", "heap")

Thresholded = tuple[np.ndarray, np.ndarray]
"""Heights to flood and seed voxels; see `scripts.watershed.threshold.threshold`."""


def quiet(stage: str) -> None:
    """Report nothing."""


class Recipe(NamedTuple):
    """What the watersheds differ in.

    Attributes:
        names: of the channels of the maps.
        threshold: maps (C, Z, Y, X) and whether they are 0..1, to heights and seed voxels.
        connectivity: of the voxels of one seed, 26 or 6.
        more: whether further channels of the last kind may follow.
    """

    names: Sequence[str]
    threshold: Callable[[np.ndarray, bool], Thresholded]
    connectivity: Literal[6, 26] = 26
    more: bool = False


def decode(
    maps: np.ndarray,
    recipe: Recipe,
    sizes: tuple[int, int],
    small_mode: str,
    scale_factors: Sequence[float],
    seeds: np.ndarray | None,
    return_seeds: bool = False,
    ties: str = "raster",
    on_stage: Callable[[str], Any] = quiet,
) -> Any:
    """The stages of the watershed: labels, or labels and seeds; each large array goes as soon as it was used."""
    maps = np.asarray(maps)
    check_choices(small_mode, scale_factors, ties)
    unit = is_unit_scale(maps, recipe.names, recipe.more)
    keeps_ids = seeds is not None or return_seeds
    if seeds is not None:
        seeds = _checked_seeds(np.asarray(seeds), maps.shape[1:])
    on_stage("thresholds")
    heights, found = recipe.threshold(maps, unit)
    on_stage("seeds")
    if seeds is None:
        seeds = _number(found, sizes[0], recipe.connectivity)
    del found
    on_stage("flood")
    labels = flood_by_heap(heights, seeds) if ties == "heap" else flood_any(heights, seeds)
    del heights
    kept = (seeds,) if return_seeds else ()
    del seeds
    on_stage("small instances")
    handle_small(labels, sizes[1], small_mode)
    labels = labels if keeps_ids else close_gaps(labels)
    on_stage("scale")
    labels = _resized(_narrow(labels), scale_factors)
    return (labels, *kept) if kept else labels


def check_choices(small_mode: str, factors: Sequence[float], ties: str) -> None:
    """See that options which all watersheds share are some that there are.

    Raises:
        InputError: one is not; it is named.
    """
    if ties not in TIES:
        raise InputError(f"ties: found {ties!r}, expected one of {', '.join(TIES)}.")
    if small_mode not in SMALL_MODES:
        raise InputError(f"small_mode: found {small_mode!r}, expected one of {', '.join(SMALL_MODES)}.")
    numbers = isinstance(factors, Sequence | np.ndarray) and all(isinstance(one, int | float) for one in factors)
    if not numbers or len(factors) != 3 or min(factors) <= 0:
        raise InputError(f"scale_factors: found {factors!r}, expected three numbers (z, y, x) above 0.")


def _checked_seeds(seeds: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    low, high = seeds.min(initial=0), seeds.max(initial=0)
    if seeds.shape != shape or seeds.dtype.kind not in "iu" or low < 0 or high > np.iinfo(np.int32).max:
        found = f"shape {seeds.shape}, {seeds.dtype}, {low} to {high}"
        raise InputError(f"seeds: found {found}; expected whole numbers from 0 on, shape {shape} as the maps have.")
    return seeds.astype(np.int32, copy=False)


def _number(found: np.ndarray, min_size: int, connectivity: Literal[6, 26]) -> np.ndarray:
    """Seeds: connected groups of voxels, numbered in the order of their first voxel; small ones dropped."""
    seeds = connected_components(found, connectivity).view(np.int32)
    drop_small(seeds, min_size)
    return seeds


def flood_any(heights: np.ndarray, seeds: np.ndarray, first: np.ndarray | None = None, first_id: int = 0) -> np.ndarray:
    """Labels by `flood`, or `flood_floats` where heights have more levels than it can tell apart."""
    levels = heights if heights.dtype.kind == "u" else _levels(heights)
    if levels is None:
        return flood_floats(heights, seeds, first, first_id)
    return flood(levels, seeds, first, first_id)


def _levels(heights: np.ndarray) -> np.ndarray | None:
    """Floats as uint16 in the same order, None where there are more values than those can tell apart."""
    values = np.array([np.inf], heights.dtype)
    for section in heights:
        values = np.union1d(values, section)
        if len(values) > LEVELS:
            return None
    levels = np.empty(heights.shape, np.uint16)
    for section, level in zip(heights, levels, strict=True):
        level[...] = np.searchsorted(values, section)
    levels[levels == len(values) - 1] = blocked_value(levels.dtype)
    return levels


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
