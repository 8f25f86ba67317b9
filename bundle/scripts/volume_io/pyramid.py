"""Pyramids: labels in coarser resolutions, and which resolutions there are to be."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod, sqrt

import numpy as np
from scripts.errors import InputError

__all__ = ["downsample_labels", "pyramid_factors"]

Factors = tuple[int, int, int]
# a level of so few voxels a side is shown at once, and needs no coarser one
SMALL = 64


def downsample_labels(labels: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Give each block of (z, y, x) = `factors` voxels its most frequent label.

    Where several are as frequent, objects go before background, and then the smallest number wins: so thin objects
    stay. Blocks begin at multiples of the factors, those at the far border are cut short; so a volume may be worked on
    in parts, where these begin at multiples of the factors, too. Memory: two copies of `labels`, then one and
    twenty bytes for each block.

    Args:
        labels: (Z, Y, X), integers.
        factors: for z, y, x.

    Returns:
        The labels, of the same type; each side is divided by its factor and rounded up.

    Raises:
        InputError: `factors` are not three positive integers.
    """
    if labels.ndim != 3 or len(factors) != 3 or min(factors) < 1:
        found = f"labels of shape {labels.shape}, factors {tuple(factors)}"
        raise InputError(f"{found}; expected (Z, Y, X) and three integers of 1 or more.")
    for axis, factor in enumerate(factors):
        if rest := labels.shape[axis] % factor:
            whole, border = np.split(labels, [labels.shape[axis] - rest], axis)
            short = [rest if other == axis else f for other, f in enumerate(factors)]
            parts = [downsample_labels(part, by) for part, by in ((whole, factors), (border, short)) if part.size]
            return np.concatenate(parts, axis)
    return _modes(labels, factors)


def pyramid_factors(
    shape: Sequence[int], voxel_size: Sequence[float] | None, chunks: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Choose the levels of a pyramid.

    From one to the next the axes with the smallest voxels (within a factor of sqrt(2)) are halved: at first those that
    are finer than the others, once voxels are about cubes all. The last level fits into one chunk, or has fewer than 64
    voxels a side.

    Args:
        shape: (Z, Y, X), or (C, Z, Y, X).
        voxel_size: (z, y, x); None stands for cubes.
        chunks: of the levels.

    Returns:
        Cumulative factors (z, y, x), beginning with (1, 1, 1).

    >>> pyramid_factors((100, 512, 512), (4.0, 1.0, 1.0), (64, 64, 64))
    [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]
    """
    factors: list[Factors] = [(1, 1, 1)]
    while True:
        sides = [ceil(side / factor) for side, factor in zip(shape[-3:], factors[-1], strict=True)]
        fits = all(side <= chunk for side, chunk in zip(sides, chunks[-3:], strict=True))
        if fits or max(sides) < SMALL:
            return factors
        lengths = [size * factor for size, factor in zip(voxel_size or (1.0, 1.0, 1.0), factors[-1], strict=True)]
        finest = min(length for length, side in zip(lengths, sides, strict=True) if side > 1)
        halved = [
            2 if side > 1 and length < sqrt(2) * finest else 1 for length, side in zip(lengths, sides, strict=True)
        ]
        z, y, x = (factor * by for factor, by in zip(factors[-1], halved, strict=True))
        factors.append((z, y, x))


def _modes(labels: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Downsample where the factors divide the shape: sort the voxels of each block, and find the longest run."""
    shape = tuple(side // factor for side, factor in zip(labels.shape, factors, strict=True))
    divided = [size for pair in zip(shape, factors, strict=True) for size in pair]
    blocks = np.empty((*shape, *factors), labels.dtype)
    blocks[...] = labels.reshape(divided).transpose(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(prod(shape), prod(factors))
    blocks.sort(axis=1)
    ranks = np.ascontiguousarray(blocks.T)
    del blocks
    best, mode = np.zeros(prod(shape), np.int32), ranks[0].copy()
    run = np.zeros(prod(shape), np.int32)
    for i, value in enumerate(ranks):
        run = np.where(value == ranks[i - 1], run + 1, 1) if i else run + 1
        weight = 2 * run + (value != 0)
        longer = weight > best
        np.copyto(best, weight, where=longer)
        np.copyto(mode, value, where=longer)
    return mode.reshape(shape)
