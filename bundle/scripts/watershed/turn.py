"""The flood of a seeded watershed, one voxel at a time: for heights that hardly two voxels share, and as a reference.

The order is that of `scripts.watershed.flood`, or that of scikit-image before 0.25.
"""

from __future__ import annotations

from array import array
from heapq import heapify, heappop, heappush

import numpy as np
from scripts.watershed.flood import blocked_value

__all__ = ["flood_by_heap", "flood_floats"]

_TURNS = 40  # low bits of a key: the turn in which a voxel was reached; above them, its height
_TURN = (1 << _TURNS) - 1


class _Seed(int):
    """Key of a seed voxel, which scikit-image finds as early as any other of its height.

    `heappop` takes "before" to mean "not behind" for these, and so moves equals as the heap of scikit-image does: the
    left one of two equal children goes up, and the last item stays above what equals it.
    """

    def __lt__(self, other: int) -> bool:
        return self >> _TURNS <= other >> _TURNS


def flood_floats(
    heights: np.ndarray, seeds: np.ndarray, first: np.ndarray | None = None, first_id: int = 0
) -> np.ndarray:
    """As `flood`, for floats of any number of levels, infinite outside the mask; about 20 times slower.

    Memory: 8 bytes per voxel, 24 for each voxel of the mask while it is ranked, later 50 for each that waits.
    """
    state, labels, voxels = _prepared(_ranked(heights), seeds)
    keys = _keys(state, voxels)
    if first is not None:
        chosen = np.zeros(state.shape, bool)
        chosen[1:-1, 1:-1, 1:-1] = first
        early = np.flatnonzero(chosen.reshape(-1) & (state.reshape(-1) != 0) & (labels.reshape(-1) == 0))
        labels.reshape(-1)[early] = first_id
        keys, voxels = [*range(len(voxels), len(voxels) + len(early)), *keys], np.append(voxels, early)
    heapify(keys)
    return _flooded(state, labels, voxels, keys)


def flood_by_heap(heights: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """As `flood` and `flood_floats`, but equally low seed voxels go in the order of scikit-image's heap.

    Memory: 8 bytes per voxel, and 100 for each that waits.
    """
    levels = _ranked(heights) if heights.dtype.kind == "f" else heights
    state, labels, voxels = _prepared(levels, seeds)
    return _flooded(state, labels, voxels, _heap(_keys(state, voxels)))


def _ranked(heights: np.ndarray) -> np.ndarray:
    """Floats as uint32 in the same order, `blocked_value` where they are infinite."""
    mask = np.isfinite(heights)
    levels = np.full(heights.shape, blocked_value(np.dtype(np.uint32)), np.uint32)
    levels[mask] = np.unique(heights[mask], return_inverse=True)[1]
    return levels


def _prepared(levels: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels from 1 on, 0 for what is blocked, in a rim of it; labels; flat indices of the seed voxels."""
    padded, inner = tuple(size + 2 for size in levels.shape), (slice(1, -1),) * 3
    state, labels = np.zeros(padded, levels.dtype), np.zeros(padded, np.int32)
    state[inner] = levels + levels.dtype.type(1)  # the highest value, for what is blocked, becomes 0
    np.copyto(labels[inner], seeds, where=state[inner] != 0, casting="unsafe")
    return state, labels, np.flatnonzero(labels)


def _keys(state: np.ndarray, voxels: np.ndarray) -> list[int]:
    return ((state.reshape(-1)[voxels].astype(np.int64) << _TURNS) | np.arange(len(voxels))).tolist()


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


def _flooded(state: np.ndarray, labels: np.ndarray, voxels: np.ndarray, heap: list[int]) -> np.ndarray:
    """Labels without the rim, when all that can be reached was reached.

    Args:
        state: levels from 1 on, 0 for what is blocked; what was reached becomes 0 too.
        labels: instances of what was reached.
        voxels: flat indices of what was reached, in this order.
        heap: their keys.
    """
    plane, line = labels.shape[1] * labels.shape[2], labels.shape[2]
    state.reshape(-1)[voxels] = 0
    level, label = state.reshape(-1).data, labels.reshape(-1).data
    reached = array("q", voxels.tobytes())
    while heap:
        voxel = reached[heappop(heap) & _TURN]
        for beside in (voxel - plane, voxel - line, voxel - 1, voxel + 1, voxel + line, voxel + plane):
            if height := level[beside]:
                level[beside], label[beside] = 0, label[voxel]
                heappush(heap, height << _TURNS | len(reached))
                reached.append(beside)
    return labels[1:-1, 1:-1, 1:-1]
