"""Parts of a volume, at the resolution at which they are looked at: a whole one may be gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, prod

import numpy as np
import torch
from scripts.transforms.scaling import resized, scaled_shape
from scripts.volume_io import ChunkedVolume

__all__ = ["Readable", "block_means", "grey_range", "normalised", "piece_slices", "shrunk"]

Readable = np.ndarray | ChunkedVolume
"""A volume (Z, Y, X) in memory, or one of which parts are read."""


def piece_slices(shape: Sequence[int], size: Sequence[int], seed: int, count: int = 3) -> list[tuple[slice, ...]]:
    """Windows (Z, Y, X) of at most `size`: the whole where it is no larger, else `count` at random places."""
    sides = [min(n, s) for n, s in zip(shape, size, strict=True)]
    room = [n - s for n, s in zip(shape, sides, strict=True)]
    rng = np.random.default_rng(seed)
    corners = [[int(rng.integers(r + 1)) for r in room] for _ in range(count if any(room) else 1)]
    return [tuple(slice(a, a + s) for a, s in zip(corner, sides, strict=True)) for corner in corners]


def block_means(volume: Readable, blocks: Sequence[int], part: Sequence[slice] | None = None) -> np.ndarray:
    """Average blocks of (z, y, x) voxels, (Z, Y, X) to float32; what does not fill a block is left out.

    Memory: one slab of `blocks[0]` planes, or of a chunk's, beside the result.

    Args:
        volume: (Z, Y, X).
        blocks: voxels (z, y, x) that become one.
        part: of the volume; None for all of it.
    """
    box = part or [slice(0, side) for side in volume.shape]
    z, y, x = ((side.stop - side.start) // block for side, block in zip(box, blocks, strict=True))
    top, down, left = (side.start for side in box)
    bz, by, bx = blocks
    whole = slice(top, top + z * bz), slice(down, down + y * by), slice(left, left + x * bx)
    result = np.empty((z, y, x), np.float32)
    for i, slab in enumerate(_slabs(volume, whole, bz)):
        result[i] = slab.astype(np.float32).reshape(bz, y, by, x, bx).mean(axis=(0, 2, 4))
    return result


def shrunk(volume: np.ndarray, factors: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Shrink (Z, Y, X) by factors of at most 1; the float32 result and the factors (3,) that were possible."""
    blocks = [max(1, min(n, int(1 / f))) for n, f in zip(volume.shape, factors, strict=True)]
    coarse = block_means(volume, blocks)
    rest = [min(1.0, f * b) for f, b in zip(factors, blocks, strict=True)]
    shape = scaled_shape(coarse.shape, rest)
    result = resized(torch.from_numpy(coarse)[None, None], shape)[0, 0].numpy()
    return result, np.array(shape) / np.array(coarse.shape) / np.array(blocks)


def grey_range(volume: Readable, percentiles: Sequence[float] = (0.5, 99.5)) -> tuple[float, float]:
    """Grey values at two percentiles, of about four million voxels on a grid at most."""
    step = max(1, round((prod(volume.shape) / 4e6) ** (1 / 3)))
    slabs = _slabs(volume, [slice(0, side) for side in volume.shape], step)
    low, high = np.percentile(np.stack([slab[0, ::step, ::step].astype(np.float32) for slab in slabs]), percentiles)
    return float(low), float(high)


def normalised(volume: np.ndarray, window: Sequence[float]) -> np.ndarray:
    """Bring the grey values of a window to 0 and 1, and clip the others; float32."""
    low, high = window
    return np.clip((volume.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)


def _slabs(volume: Readable, box: Sequence[slice], planes: int) -> Iterator[np.ndarray]:
    """Give a box, so many planes at a time; a file is read in multiples of them, so that chunks are decoded once."""
    (z, y, x), chunks = box, getattr(volume, "chunks", (1,))
    depth = ceil(chunks[0] / planes) * planes
    for first in range(z.start, z.stop, depth):
        read = volume[first : min(first + depth, z.stop), y, x]
        yield from (read[start : start + planes] for start in range(0, len(read), planes))
