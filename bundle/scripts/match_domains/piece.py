"""Parts of a volume, at the resolution at which they are looked at: a whole one may be gigabytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scripts.transforms.scaling import resized, scaled_shape

__all__ = ["block_means", "grey_range", "normalised", "piece_slices", "shrunk"]


def piece_slices(shape: Sequence[int], size: Sequence[int], seed: int, count: int = 3) -> list[tuple[slice, ...]]:
    """Windows (Z, Y, X) of at most `size`: the whole where it is no larger, else `count` at random places."""
    sides = [min(n, s) for n, s in zip(shape, size, strict=True)]
    room = [n - s for n, s in zip(shape, sides, strict=True)]
    rng = np.random.default_rng(seed)
    corners = [[int(rng.integers(r + 1)) for r in room] for _ in range(count if any(room) else 1)]
    return [tuple(slice(a, a + s) for a, s in zip(corner, sides, strict=True)) for corner in corners]


def block_means(volume: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """Average blocks of (z, y, x) voxels, (Z, Y, X) to float32; what does not fill a block is left out.

    Memory: one slab of `blocks[0]` planes beside the result.
    """
    z, y, x = (n // b for n, b in zip(volume.shape, blocks, strict=True))
    bz, by, bx = blocks
    result = np.empty((z, y, x), np.float32)
    for i in range(z):
        slab = volume[i * bz : (i + 1) * bz, : y * by, : x * bx].astype(np.float32)
        result[i] = slab.reshape(bz, y, by, x, bx).mean(axis=(0, 2, 4))
    return result


def shrunk(volume: np.ndarray, factors: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Shrink (Z, Y, X) by factors of at most 1; the float32 result and the factors (3,) that were possible."""
    blocks = [max(1, min(n, int(1 / f))) for n, f in zip(volume.shape, factors, strict=True)]
    coarse = block_means(volume, blocks)
    rest = [min(1.0, f * b) for f, b in zip(factors, blocks, strict=True)]
    shape = scaled_shape(coarse.shape, rest)
    result = resized(torch.from_numpy(coarse)[None, None], shape)[0, 0].numpy()
    return result, np.array(shape) / np.array(coarse.shape) / np.array(blocks)


def grey_range(volume: np.ndarray, percentiles: Sequence[float] = (0.5, 99.5)) -> tuple[float, float]:
    """Grey values at two percentiles, of about four million voxels on a grid at most."""
    step = max(1, round((volume.size / 4e6) ** (1 / 3)))
    low, high = np.percentile(volume[::step, ::step, ::step].astype(np.float32), percentiles)
    return float(low), float(high)


def normalised(volume: np.ndarray, window: Sequence[float]) -> np.ndarray:
    """Bring the grey values of a window to 0 and 1, and clip the others; float32."""
    low, high = window
    return np.clip((volume.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)
