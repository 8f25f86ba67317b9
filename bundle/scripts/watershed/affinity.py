"""The watershed of affinities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from scripts.watershed.decode import BCDWatershed
from scripts.watershed.pipeline import Recipe, Thresholded, decode, quiet
from scripts.watershed.threshold import byte_scale, empty_heights

__all__ = ["AffinityWatershed", "affinity_watershed"]

AXES = ("affinity z", "affinity y", "affinity x")


def affinity_watershed(
    maps: np.ndarray,
    *,
    seed_affinity: float = 0.9,
    mask_affinity: float = 0.5,
    min_seed_size: int = 32,
    min_instance_size: int = 256,
    small_mode: str = "background",
    scale_factors: Sequence[float] = (1, 1, 1),
    seeds: np.ndarray | None = None,
    return_seeds: bool = False,
    ties: str = "raster",
    on_stage: Callable[[str], Any] = quiet,
) -> Any:
    """Instances from affinities, each the probability that a voxel and another one carry the same instance.

    A seed is a 6-connected group of voxels whose weakest affinity is high: between two instances that touch, the voxel
    behind the border has a low one along the axis that crosses it. (26-connected seeds would meet at corners.) Longer
    offsets widen that border and the seeds shrink, so let them be under half an object. The mask is where the strongest
    affinity is high, that is wherever a voxel belongs to anything; the mean of the affinities is flooded from the top.

    Memory beside the maps: 16 bytes per voxel; for floats 20, and 50 where their means have more than 65,534 values.

    Args:
        maps: (C, Z, Y, X), C at least 3, in any order of offsets: integers 0..255, or floats 0..1 or 0..255.
        seed_affinity: for seeds, all affinities above.
        mask_affinity: for instances, one affinity or more above.
        min_seed_size: in voxels.
        min_instance_size: in voxels.
        small_mode: as for :func:`bcd_watershed`, as all that follows.
        scale_factors: (z, y, x) by which the labels are resized in the end.
        seeds: whole numbers (Z, Y, X) to flood from, in place of those found.
        return_seeds: give the seeds as well.
        ties: as for :func:`bcd_watershed`.
        on_stage: called with the name of each of `scripts.watershed.STAGES` as it begins.

    Returns:
        Labels (Z, Y, X), or (labels, seeds), as :func:`bcd_watershed`.

    Raises:
        InputError: when maps or seeds do not fit, or a name is unknown.
    """
    recipe, sizes = affinity_recipe(seed_affinity, mask_affinity), (min_seed_size, min_instance_size)
    return decode(maps, recipe, sizes, small_mode, scale_factors, seeds, return_seeds, ties, on_stage)


def affinity_recipe(seed_affinity: float = 0.9, mask_affinity: float = 0.5) -> Recipe:
    """Seeds, mask and heights of :func:`affinity_watershed`."""
    rule = partial(_threshold, seed_affinity=seed_affinity, mask_affinity=mask_affinity)
    return Recipe(AXES, rule, connectivity=6, more=True)


class AffinityWatershed(BCDWatershed):
    """Decoder: affinities (C, Z, Y, X) to labels (Z, Y, X).

    Args:
        options: as for :func:`affinity_watershed`.
    """

    map_names = ("affinity",)
    decode = staticmethod(affinity_watershed)
    recipe = staticmethod(affinity_recipe)


def _threshold(maps: np.ndarray, unit: bool, seed_affinity: float, mask_affinity: float) -> Thresholded:
    """Heights and seed voxels, (Z, Y, X) each, section by section; for bytes the sum stands for the mean."""
    low, high = int(255 * mask_affinity), int(255 * seed_affinity)
    found = np.empty(maps.shape[1:], bool)
    heights = empty_heights(maps, np.dtype(np.uint16))
    for z in range(maps.shape[1]):
        section = np.stack([byte_scale(one, unit) for one in maps[:, z]])
        found[z] = section.min(axis=0) > high
        if heights.dtype == np.uint16:
            height = 255 * len(maps) - section.sum(axis=0, dtype=np.uint16)
        else:
            height = -section.mean(axis=0, dtype=np.float32)
        np.copyto(heights[z], height, where=section.max(axis=0) > low)
    return heights, found
