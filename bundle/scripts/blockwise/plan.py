"""What a run will take, before it is begun."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scripts.blockwise.label import faces_of
from scripts.blockwise.option import Triple
from scripts.blockwise.source import Maps
from scripts.component import connected_components
from scripts.errors import InputError
from scripts.volume_io.grid import Grid, shape_of
from scripts.watershed.pipeline import Recipe, flood_any

__all__ = ["Plan", "fitting_block", "make_plan", "window_bytes"]

PROCESS = 350e6
"""Bytes that a worker holds before it has read a voxel."""

BYTES = 24
"""Per voxel of a block with its halo, beside the maps, where these are bytes; as tools/scaling.py measures it."""

FLOAT_BYTES = 50
"""The same where they are floats, whose heights are floats too and are sorted (tools/scaling.py --floats)."""


class Plan(NamedTuple):
    """What a run will take.

    Attributes:
        blocks: their number.
        block: their shape (z, y, x).
        halo: voxels around each.
        share: voxels that are worked on for each voxel of the volume.
        memory: bytes of each worker, with the first halo; a larger one, where it is needed, needs more.
        disk: bytes beside the maps, at most; labels compress well.
        seconds: of all stages, from one block's.
    """

    blocks: int
    block: Triple
    halo: Triple
    share: float
    memory: float
    disk: float
    seconds: float

    def __str__(self) -> str:
        z, y, x = self.block
        return (
            f"{self.blocks} blocks of {z}×{y}×{x}, halo {self.halo[0]},{self.halo[1]},{self.halo[2]}: "
            f"{self.share:.2f} voxels worked on for each one\n"
            f"memory: {self.memory / 1e9:.2f} GB for each worker\n"
            f"disk: at most {self.disk / 1e9:.1f} GB beside the maps, mostly a small part of it\n"
            f"time: about {self.seconds / 3600:.2f} hours, from one block in the middle"
        )


def window_bytes(block: Sequence[int], halo: Sequence[int], channels: int, itemsize: int = 1) -> float:
    """Bytes of a worker for a block within its halo; maps of more than a byte are floats."""
    voxels = math.prod(side + 2 * more for side, more in zip(block, halo, strict=True))
    return PROCESS + voxels * ((BYTES if itemsize == 1 else FLOAT_BYTES) + channels * itemsize)


def fitting_block(
    shape: Sequence[int], halo: Sequence[int], channels: int, itemsize: int, memory: float, most: Sequence[int]
) -> Triple:
    """Return the largest block, of sides halved from `most`, that a worker of so many bytes can hold.

    Raises:
        InputError: not even blocks of 16 voxels fit.
    """
    block = [min(side, size) for side, size in zip(most, shape, strict=True)]
    while window_bytes(block, halo, channels, itemsize) > memory:
        longest = max(range(3), key=lambda axis: block[axis])
        if block[longest] < 32:
            needed = window_bytes(block, halo, channels, itemsize)
            raise InputError(
                f"memory: found {memory / 1e9:g} GB for each worker, but blocks of {tuple(block)} with a halo of "
                f"{tuple(halo)} need {needed / 1e9:.2f}. Give more --memory, or a smaller --halo."
            )
        block[longest] = math.ceil(block[longest] / 2)
    return block[0], block[1], block[2]


def make_plan(maps: Maps, grid: Grid, recipe: Recipe, halo: Triple, workers: int) -> Plan:
    """Return what a run will take; works on the block in the middle, and writes nothing."""
    middle = grid.number([count // 2 for count in grid.counts]) or 0
    window = grid.window(middle, halo)
    begun = time.perf_counter()
    heights, found = recipe.threshold(maps.read(window), maps.unit)
    seeds = connected_components(found, recipe.connectivity)
    flood_any(heights, seeds.view(np.int32), faces_of(window, grid.shape), int(seeds.max(initial=0)) + 1)
    seconds = (time.perf_counter() - begun) * len(grid) / workers
    voxels = math.prod(grid.shape)
    worked = sum(math.prod(shape_of(grid.window(block, halo))) for block in range(len(grid)))
    memory = window_bytes(grid.block, halo, maps.channels, maps.volume.dtype.itemsize)
    # labels and seeds, 4 bytes each, and an eighth of the labels more for their lower resolutions
    return Plan(len(grid), grid.block, halo, worked / voxels, memory, 8.5 * voxels, seconds)
