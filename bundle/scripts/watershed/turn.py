"""The flood of a seeded watershed, one voxel at a time, in the order of a heap.

What goes first is as in `scripts.watershed.flood`; for `flood_by_heap` seed voxels of equal height too go in the order
that they have in scikit-image before 0.25.
"""

from __future__ import annotations

from array import array
from heapq import heappop, heappush

import numpy as np
from scripts.watershed.flood import blocked_value, pad

__all__ = ["flood_by_heap", "flood_in_turn", "keys_of", "ranked"]

_TURNS = 40  # low bits of a key: the turn in which a voxel was reached; above them, its height
_TURN = (1 << _TURNS) - 1


class _Seed(int):
    """Key of a seed voxel, which scikit-image reaches as early as any other of its height.

    `heappop` takes "before" to mean "not behind" for these, and so moves equals as the heap of scikit-image does: the
    left one of two equal children goes up, and the last item stays above what equals it.
    """

    def __lt__(self, other: int) -> bool:
        return self >> _TURNS <= other >> _TURNS


def flood_by_heap(heights: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """As `flood` and `flood_floats`, but equally low seed voxels go in the order of scikit-image's heap.

    Memory: 8 bytes per voxel, and up to 100 for each voxel of the mask.
    """
    state, labels = pad(ranked(heights) if heights.dtype.kind == "f" else heights, seeds)
    plane, line = state.shape[1] * state.shape[2], state.shape[2]
    steps = np.array([-plane, -line, -1, 1, line, plane])
    level, label = state.reshape(-1), labels.reshape(-1)
    voxels = np.flatnonzero(label)
    heap = _heap(keys_of(level[voxels]))
    level[voxels] = blocked_value(state.dtype)
    flood_in_turn(level, label, steps, voxels, heap, blocked_value(state.dtype))
    return labels[1:-1, 1:-1, 1:-1]


def ranked(heights: np.ndarray) -> np.ndarray:
    """Floats as uint32 in the same order, `blocked_value` where they are infinite."""
    mask = np.isfinite(heights)
    levels = np.full(heights.shape, blocked_value(np.dtype(np.uint32)), np.uint32)
    levels[mask] = np.unique(heights[mask], return_inverse=True)[1]
    return levels


def keys_of(heights: np.ndarray) -> list[int]:
    """Keys of voxels that were reached in this order, before any other."""
    # Python's integers: of 2²³ levels or more, a key does not fit into 64 bits
    return [height << _TURNS | turn for turn, height in enumerate(heights.tolist())]


def flood_in_turn(
    state: np.ndarray, labels: np.ndarray, steps: np.ndarray, voxels: np.ndarray, heap: list[int], end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flood from voxels and all that they reach below a level.

    Args:
        state: flat heights, `blocked_value` for what is outside the mask or was reached.
        labels: flat instances of what was reached.
        steps: from a voxel to those beside it, in the order in which they are reached.
        voxels: flat indices to flood from, in the order in which they were reached.
        heap: their keys, a heap.
        end: the level.

    Returns:
        Voxels that were reached and are no lower than the level, in this order, and their heights.
    """
    back, up, left, right, down, on = steps.tolist()
    blocked, level, label = blocked_value(state.dtype), state.data, labels.data
    reached, late, late_heights = array("q", voxels.astype(np.int64).tobytes()), array("q"), array("q")
    while heap:
        voxel = reached[heappop(heap) & _TURN]
        for beside in (voxel + back, voxel + up, voxel + left, voxel + right, voxel + down, voxel + on):
            height = level[beside]
            if height != blocked:
                level[beside], label[beside] = blocked, label[voxel]
                if height < end:
                    heappush(heap, height << _TURNS | len(reached))
                    reached.append(beside)
                else:
                    late.append(beside)
                    late_heights.append(height)
    return np.array(late, np.int64), np.array(late_heights, state.dtype)


def _heap(keys: list[int]) -> list[int]:
    """Keys of the seed voxels in a heap, put there one after the other; none passes one of its own height."""
    heap: list[int] = []
    for key in keys:
        child = len(heap)
        heap.append(0)
        while child and key >> _TURNS < heap[(child - 1) // 2] >> _TURNS:
            heap[child] = heap[(child - 1) // 2]
            child = (child - 1) // 2
        heap[child] = _Seed(key)
    return heap
