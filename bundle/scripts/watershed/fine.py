"""The flood of a seeded watershed for heights of more levels than `scripts.watershed.flood` can tell apart.

Hardly two voxels share such a level, so what waits is taken in ranges of levels. In the order of their heights, the
voxels of a range are flooded from together as far as nothing that they reach has its turn before the last of them. In
smooth maps that is hundreds at once. Where it is only a few, as around hollows, the range is flooded one voxel at a
time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scripts.watershed.flood import FrontFlood, groups, pad
from scripts.watershed.turn import flood_in_turn, keys_of, ranked

__all__ = ["flood_floats"]

_RANGES = 256  # each with as many voxels: more mean less to sort again, but more parts to put away
_FRONT = 1 << 12  # voxels that are tried together
_FEW = 24  # a step takes as long as two dozen voxels one at a time


def flood_floats(
    heights: np.ndarray, seeds: np.ndarray, first: np.ndarray | None = None, first_id: int = 0
) -> np.ndarray:
    """As `flood`, for floats of any number of levels, infinite outside the mask; about ten times slower.

    Memory: 16 bytes per voxel, and up to 40 for each voxel of the mask.
    """
    run = _FineFlood(*pad(ranked(heights), seeds))
    if first is not None:
        run.start(first, first_id)
    return run.finish()


class _FineFlood(FrontFlood):
    """As `FrontFlood`, but waiting are pairs of voxels and heights, by range."""

    def __init__(self, state: np.ndarray, labels: np.ndarray) -> None:
        count = np.bincount(state[state != np.iinfo(state.dtype).max])
        before = np.cumsum(count) - count
        self.range_of = (before * _RANGES // max(1, int(count.sum()))).astype(np.uint16)
        super().__init__(state, labels)

    def _wait(self, voxels: np.ndarray, heights: np.ndarray) -> None:
        for number, chosen in groups(self.range_of[heights]):
            self._queue(number, (voxels[chosen].astype(self.index), heights[chosen]))

    def _flood_level(self, level: int, arrived: list[Any]) -> None:
        voxels, heights = (np.concatenate(parts) for parts in zip(*arrived, strict=True))
        end = int(np.searchsorted(self.range_of, level, "right"))
        while len(voxels):
            order = np.argsort(heights, kind="stable")
            voxels, heights = voxels[order], heights[order]
            reached, source = self._reach(voxels[:_FRONT])
            stop = self._safe(heights[:_FRONT], reached, source)
            if stop < min(_FEW, len(voxels)):
                return self._flood_singly(voxels, heights, end)
            claims = slice(0, int(np.searchsorted(source, stop)))
            new, new_heights = self._claim(reached[claims], self.labels[voxels[source[claims]]])
            now = new_heights < end
            self._wait(new[~now], new_heights[~now])
            voxels, heights = np.append(voxels[stop:], new[now]), np.append(heights[stop:], new_heights[now])

    def _safe(self, heights: np.ndarray, reached: np.ndarray, source: np.ndarray) -> int:
        """How many of a front can be flooded from before anything that they reach has its turn; 1 or more."""
        turn = np.maximum(np.searchsorted(heights, self.state[reached], "right"), source + 1)
        return int(turn.min(initial=len(heights)))

    def _flood_singly(self, voxels: np.ndarray, heights: np.ndarray, end: int) -> None:
        """Flood from voxels and all that they reach below a level, one at a time."""
        useful = (self.state[voxels[:, None] + self.steps] != self.blocked).any(axis=1)
        voxels, heap = voxels[useful], keys_of(heights[useful])  # in order, so a heap
        self._wait(*flood_in_turn(self.state, self.labels, self.steps, voxels, heap, end))
