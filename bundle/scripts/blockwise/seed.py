"""Stage 1: the seeds of each block, numbered by themselves, and what is needed to join them across blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.source import Maps
from scripts.component import connected_components
from scripts.volume_io import ZarrVolume
from scripts.volume_io.grid import Box, Grid, shape_of
from scripts.watershed.pipeline import Recipe

__all__ = ["AXES", "NOWHERE", "SeedWork"]

AXES = "zyx"
NOWHERE = np.iinfo(np.int64).max
"""The first voxel of a seed that lies in the next blocks alone."""


@dataclass(frozen=True)
class SeedWork:
    """Finds the seeds of a block, and of one voxel beyond it after each axis.

    Any two voxels that touch lie in one of the blocks so enlarged, and the voxels beyond a block are the first of the
    next ones: seeds of two blocks that share such a voxel are one.

    Memory: about 12 bytes per voxel of a block beside the maps.

    Attributes:
        grid: the blocks.
        maps: to read.
        recipe: how seeds are told from maps, and connected.
        seeds: store (Z, Y, X) uint32 for the block's own numbers.
        folder: for the results: by number, within the block, `sizes` in voxels, `first` voxel (its flat index in the
            volume) and `foreground` (sum of the first map); and the numbers in its first planes and in those beyond it.
    """

    grid: Grid
    maps: Maps
    recipe: Recipe
    seeds: ZarrVolume
    folder: WorkFolder

    def __call__(self, block: int) -> None:
        """Work on a block."""
        core = self.grid.core(block)
        maps = self.maps.read(self.grid.window(block, (0, 0, 0), after=(1, 1, 1)))
        found = self.recipe.threshold(maps, self.maps.unit)[1]
        numbers = connected_components(found, self.recipe.connectivity)
        inside = tuple(slice(0, size) for size in shape_of(core))
        self.seeds[core] = numbers[inside]
        planes: dict[str, np.ndarray] = {}
        for index, (axis, size) in enumerate(zip(AXES, shape_of(core), strict=True)):
            planes[f"low_{axis}"] = np.take(numbers[inside], 0, index)
            if size < numbers.shape[index]:
                planes[f"high_{axis}"] = np.take(numbers, size, index)
        measures = _measure(numbers[inside], maps[0][inside], core, self.grid.shape, int(numbers.max(initial=0)))
        self.folder.save("seeds", block, measures | planes)


def _measure(
    numbers: np.ndarray, foreground: np.ndarray, core: Box, shape: tuple[int, int, int], count: int
) -> dict[str, np.ndarray]:
    """Size, first voxel and sum of foreground of each number from 0 to count."""
    places = np.flatnonzero(numbers)
    of = numbers.ravel()[places]
    first = np.full(count + 1, NOWHERE, np.int64)
    first[of[::-1]] = places[::-1]  # of equal indices the last assignment stays, that of the first voxel
    here = first < NOWHERE
    z, y, x = (at + side.start for at, side in zip(np.unravel_index(first[here], numbers.shape), core, strict=True))
    first[here] = (z * np.int64(shape[1]) + y) * np.int64(shape[2]) + x
    weights = np.bincount(of, foreground.ravel()[places].astype(float), count + 1)
    return {"sizes": np.bincount(of, minlength=count + 1), "first": first, "foreground": weights}
