"""The flood of a seeded watershed, whole fronts at a time.

What is flooded, and in which order, is as in scikit-image before 0.25: the lowest voxel goes first, of equals the one
that was reached first, and what a voxel reaches takes its instance at once. Only the order of equally low seed voxels
is another: scikit-image leaves it to the layout of its heap, which changes with whatever else the volume holds; here
they go in raster order. So what becomes of a region depends on nothing outside its connected part of the mask, and a
volume can be flooded in parts. `scripts.watershed.turn` floods one voxel at a time, in this order or scikit-image's.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import pairwise

import numpy as np

__all__ = ["LEVELS", "blocked_value", "flood"]

LEVELS = 65_534
"""Most levels that `flood` tells apart."""

_FRONT = 1 << 15  # voxels handled at once: what they touch stays in the processor's cache
Claims = tuple[np.ndarray, np.ndarray]  # voxels, and which of the front's voxels reached each


def blocked_value(dtype: np.dtype) -> int:
    """The height that stands for "outside the mask"."""
    return int(np.iinfo(dtype).max)


def flood(heights: np.ndarray, seeds: np.ndarray, first: np.ndarray | None = None, first_id: int = 0) -> np.ndarray:
    """Flood a mask from seeds, 6-connected.

    Memory: 5 bytes per voxel for bytes as heights (6 for uint16), and 4 for each voxel that waits for its turn, at most
    all of the mask.

    Args:
        heights: (Z, Y, X) uint8 or uint16, low goes first; `blocked_value` outside the mask.
        seeds: (Z, Y, X) whole numbers below 2³¹, 0 where there is none; those outside the mask do not count.
        first: voxels, True in (Z, Y, X), that are flooded from before all others, seeds excepted.
        first_id: the instance that they start.

    Returns:
        Labels (Z, Y, X) int32, 0 for what is outside the mask or not reached.
    """
    padded = tuple(size + 2 for size in heights.shape)
    inner = (slice(1, -1),) * 3
    state = np.full(padded, blocked_value(heights.dtype), heights.dtype)
    state[inner] = heights
    labels = np.zeros(padded, np.int32)
    np.copyto(labels[inner], seeds, where=state[inner] != blocked_value(heights.dtype), casting="unsafe")
    run = _Flood(state, labels)
    if first is not None:
        chosen = np.zeros(padded, bool)
        chosen[inner] = first
        run.start(np.flatnonzero(chosen & (state != run.blocked) & (labels == 0)), first_id)
    run.finish()
    return labels[inner]


class _Flood:
    """State of a flood over flat indices of a volume with a rim of blocked voxels."""

    def __init__(self, state: np.ndarray, labels: np.ndarray) -> None:
        plane, line = state.shape[1] * state.shape[2], state.shape[2]
        self.steps = np.array([-plane, -line, -1, 1, line, plane])
        self.blocked = blocked_value(state.dtype)
        self.index = np.int32 if state.size < 2**31 else np.int64
        self.state, self.labels = state.reshape(-1), labels.reshape(-1)
        self.waiting: dict[int, list[np.ndarray]] = {}
        self.levels: list[int] = []  # the keys of `waiting`, a heap
        for begin in range(0, self.labels.size, plane):  # by section: sorting takes 24 bytes for each seed voxel
            seeds = np.flatnonzero(self.labels[begin : begin + plane]) + begin
            heights = self.state[seeds]
            self.state[seeds] = self.blocked
            self._wait(seeds, heights)

    def start(self, voxels: np.ndarray, label: int) -> None:
        """Flood from voxels before anything else."""
        self.labels[voxels] = label
        self.state[voxels] = self.blocked
        self._advance(voxels, -1, [])

    def finish(self) -> None:
        """Flood level by level; each front is what waits at the level, in the order of its arrival."""
        while self.levels:
            level = heappop(self.levels)
            arrived = self.waiting.pop(level)
            while arrived:
                front = np.concatenate(arrived)
                arrived.clear()
                for begin in range(0, len(front), _FRONT):
                    self._advance(front[begin : begin + _FRONT], level, arrived)

    def _advance(self, front: np.ndarray, level: int, arrived: list[np.ndarray]) -> None:
        around = (front[:, None] + self.steps).reshape(-1)
        free = np.flatnonzero(self.state[around] != self.blocked)
        voxels, source = around[free], free // 6
        if (self.state[voxels] < level).any():
            voxels, source = self._drain(front, (voxels, source), level)
        if len(voxels):
            self._claim(voxels, self.labels[front[source]], level, arrived)

    def _claim(self, voxels: np.ndarray, labels: np.ndarray, level: int, arrived: list[np.ndarray]) -> None:
        """Give voxels, some of them named twice, to whom reached them first; they wait for their turn."""
        turn = np.arange(-1, -1 - len(voxels), -1, dtype=np.int32)
        self.labels[voxels[::-1]] = turn[::-1]  # of equal indices the last assignment stays, the first claim
        first = np.flatnonzero(self.labels[voxels] == turn)
        voxels = voxels[first]
        heights = self.state[voxels]
        self.labels[voxels], self.state[voxels] = labels[first], self.blocked
        now = heights == level
        if now.any():
            arrived.append(voxels[now].astype(self.index))
            voxels, heights = voxels[~now], heights[~now]
        self._wait(voxels, heights)

    def _wait(self, voxels: np.ndarray, heights: np.ndarray) -> None:
        order = np.argsort(heights, kind="stable")
        voxels, heights = voxels[order].astype(self.index), heights[order]
        cuts = [0, *(np.flatnonzero(heights[1:] != heights[:-1]) + 1).tolist(), len(voxels)]
        for begin, end in pairwise(cuts):
            if end > begin:
                level = int(heights[begin])
                if level not in self.waiting:
                    self.waiting[level] = []
                    heappush(self.levels, level)
                self.waiting[level].append(voxels[begin:end])

    def _drain(self, front: np.ndarray, claims: Claims, level: int) -> Claims:
        """Flood what lies lower than the front, one voxel at a time; returns the claims that remain, in their order.

        A hollow is filled by the voxel that reaches it first, before the next one of the front has its turn.
        """
        voxels, source = claims
        low = self.state[voxels] < level
        entries: dict[int, list[int]] = {}
        for voxel, owner in zip(voxels[low].tolist(), source[low].tolist(), strict=True):
            entries.setdefault(owner, []).append(voxel)
        rims = [(owner, self._fill(found, int(self.labels[front[owner]]), level)) for owner, found in entries.items()]
        rim = np.array([voxel for _, found in rims for voxel in found], np.int64)
        owners = np.repeat(np.array([owner for owner, _ in rims]), [len(found) for _, found in rims])
        voxels, source = np.append(voxels[~low], rim), np.append(source[~low], owners)
        order = np.argsort(source, kind="stable")
        return voxels[order], source[order]

    def _fill(self, entries: list[int], label: int, level: int) -> list[int]:
        """Flood the hollow below a level from where it was entered; returns its rim in the order it was reached."""
        steps, heap, rim, age = self.steps.tolist(), list[tuple[int, int, int]](), dict[int, None](), 0
        reached = entries
        while True:
            for voxel in reached:
                height = int(self.state[voxel])
                if height < level:
                    self.state[voxel], self.labels[voxel] = self.blocked, label
                    heappush(heap, (height, age, voxel))
                    age += 1
                elif height < self.blocked:
                    rim[voxel] = None
            if not heap:
                return list(rim)
            voxel = heappop(heap)[2]
            reached = [voxel + step for step in steps]
