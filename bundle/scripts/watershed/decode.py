"""The watersheds of foreground and contour, with and without the distance."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.physical import voxels
from scripts.watershed.pipeline import Recipe, check_choices, decode, quiet
from scripts.watershed.threshold import CHANNELS, Rule, threshold

__all__ = ["BCDWatershed", "BCWatershed", "bc_watershed", "bcd_watershed"]

HEIGHTS = ("foreground", "distance")
SIZES = ("min_seed_size", "min_instance_size")
DEFAULTS: dict[str, Any] = {"small_mode": "background", "scale_factors": (1, 1, 1), "ties": "raster"}
"""Of the options that `check_choices` takes, in its order."""


def bcd_recipe(
    seed_foreground: float = 0.9,
    seed_contour: float = 0.2,
    mask_foreground: float = 0.7,
    seed_distance: float = 0.5,
    mask_distance: float = -0.1,
    height: str = "foreground",
) -> Recipe:
    """Seeds, mask and heights of :func:`bcd_watershed`.

    Raises:
        InputError: the name of the height map is unknown.
    """
    check_height(height)
    rule = Rule(seed_foreground, seed_contour, mask_foreground, seed_distance, mask_distance)
    return Recipe(CHANNELS, partial(threshold, rule=rule, height=CHANNELS.index(height)))


def check_height(name: str) -> None:
    """See that a map is one that can be flooded.

    Raises:
        InputError: it is not.
    """
    if name not in HEIGHTS:
        raise InputError(f"height: found {name!r}, expected one of {', '.join(HEIGHTS)}.")


def bc_recipe(seed_foreground: float = 0.9, seed_contour: float = 0.8, mask_foreground: float = 0.85) -> Recipe:
    """Seeds, mask and heights of :func:`bc_watershed`."""
    return Recipe(CHANNELS[:2], partial(threshold, rule=Rule(seed_foreground, seed_contour, mask_foreground)))


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
    ties: str = "raster",
    on_stage: Callable[[str], Any] = quiet,
) -> Any:
    """Instances from foreground, contour and distance maps; the thresholds are explained in :mod:`scripts.watershed`.

    Memory beside the maps: 14 bytes per voxel; for floats 20, and 50 where they have more than 65,534 values.

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
        ties: which of equally high seed voxels are flooded from first: in "raster" order, or as scikit-image's "heap"
            happens to have them, which the reference did. See :mod:`scripts.watershed`.
        on_stage: called with the name of each of `scripts.watershed.STAGES` as it begins.

    Returns:
        Labels (Z, Y, X) of the smallest unsigned type that holds the largest id, or (labels, seeds). Ids count from 1
        without gaps, in the order of the first voxels of their seeds. Where seeds are given or returned, instances have
        the ids of their seeds, and what is dropped leaves gaps.

    Raises:
        InputError: when maps or seeds do not fit, or a name is unknown.
    """
    recipe = bcd_recipe(seed_foreground, seed_contour, mask_foreground, seed_distance, mask_distance, height)
    sizes = (min_seed_size, min_instance_size)
    return decode(maps, recipe, sizes, small_mode, scale_factors, seeds, return_seeds, ties, on_stage)


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
    ties: str = "raster",
    on_stage: Callable[[str], Any] = quiet,
) -> Any:
    """Instances from foreground and contour maps (2, Z, Y, X); otherwise as :func:`bcd_watershed`."""
    recipe, sizes = bc_recipe(seed_foreground, seed_contour, mask_foreground), (min_seed_size, min_instance_size)
    return decode(maps, recipe, sizes, small_mode, scale_factors, seeds, return_seeds, ties, on_stage)


class BCDWatershed:
    """Decoder: maps (3, Z, Y, X) to labels (Z, Y, X).

    Args:
        options: as for :func:`bcd_watershed`.

    Raises:
        InputError: an option is unknown, or a name or factors are none that there are.

    Attributes:
        map_names: names of the maps that it takes, in this order; `scripts.check.run` compares the representation's.
        decode: the function.
        recipe: its seeds, mask and heights, by the options that concern them.
    """

    map_names: tuple[str, ...] = CHANNELS
    decode: Callable[..., Any] = staticmethod(bcd_watershed)
    recipe: Callable[..., Recipe] = staticmethod(bcd_recipe)

    def __init__(self, **options: Any) -> None:
        self.options = options
        known = [name for name in inspect.signature(self.decode).parameters if name not in ("maps", "on_stage")]
        if unknown := sorted(set(options) - set(known)):  # found here, not after the inference
            raise InputError(
                f"{type(self).__name__}: found the option {', '.join(unknown)}, expected some of {', '.join(known)}. "
                "If it is another decoder's, leave it out or give the overlay that sets this decoder."
            )
        check_choices(*(options.get(name, default) for name, default in DEFAULTS.items()))
        if "height" in options:
            check_height(options["height"])

    def for_voxels(self, factor: float) -> Self:
        """Return the decoder of a volume in which objects have `factor` times as many voxels: sizes count so many more.

        Args:
            factor: of the volume for which the sizes were chosen 1; then this very decoder is returned.
        """
        if factor == 1:
            return self
        known = inspect.signature(self.decode).parameters
        sizes = {name: self.options.get(name, known[name].default) for name in SIZES if name in known}
        return type(self)(**{**self.options, **{name: voxels(size, factor) for name, size in sizes.items()}})

    def __call__(self, maps: np.ndarray, on_stage: Callable[[str], Any] = quiet) -> np.ndarray:
        """Decode one volume."""
        return self.decode(maps, on_stage=on_stage, **self.options)


class BCWatershed(BCDWatershed):
    """Decoder: maps (2, Z, Y, X) to labels (Z, Y, X).

    Args:
        options: as for :func:`bc_watershed`.
    """

    map_names = CHANNELS[:2]
    decode = staticmethod(bc_watershed)
    recipe = staticmethod(bc_recipe)
