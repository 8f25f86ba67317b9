"""The flood of a seeded watershed, whole fronts at a time.

What is flooded, and in which order, is as in scikit-image before 0.25: the lowest voxel goes first, of equals the one
that was reached first, and what a voxel reaches takes its instance at once. Only the order of equally low seed voxels
is another: scikit-image leaves it to the layout of its heap, which changes with whatever else the volume holds; here
they go in raster order. So what becomes of a region depends on nothing outside its connected part of the mask, and a
volume can be flooded in parts. `scripts.watershed.fine` does the same for more levels, `scripts.watershed.turn` one
voxel at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["LEVELS", "Claims", "FrontFlood", "blocked_value", "flood", "groups", "pad"]

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
    run = FrontFlood(*pad(heights, seeds))
    if first is not None:
        run.start(first, first_id)
    return run.finish()


def pad(heights: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights with a rim of `blocked_value`, and the seeds within the mask as int32."""
    state = np.pad(heights, 1, constant_values=blocked_value(heights.dtype))
    labels, inner = np.zeros(state.shape, np.int32), (slice(1, -1),) * 3
    np.copyto(labels[inner], seeds, where=state[inner] != blocked_value(heights.dtype), casting="unsafe")
    return state, labels


def groups(keys: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each key, the lowest first, and where it stands, in order."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    cuts = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(keys)]
    for begin, end in pairwise(cuts):
        if end > begin:
            yield int(ordered[begin]), order[begin:end]


class FrontFlood:
    """State of a flood over flat indices of a volume with a rim of blocked voxels, as `pad` gives it."""

    def __init__(self, state: np.ndarray, labels: np.ndarray) -> None:
        plane, line = state.shape[1] * state.shape[2], state.shape[2]
        self.steps = np.array([-plane, -line, -1, 1, line, plane])
        self.blocked, self.shape = blocked_value(state.dtype), state.shape
        self.index = np.int32 if state.size < 2**31 else np.int64
        self.state, self.labels = state.reshape(-1), labels.reshape(-1)
        self.waiting: dict[int, list[Any]] = {}
        self.levels: list[int] = []  # the keys of `waiting`, a heap
        # Seeds enter in raster order, which only their own region decides: so parts give what the whole gives.
        for begin in range(0, self.labels.size, plane):  # by section: sorting takes 24 bytes for each seed voxel
            seeds = np.flatnonzero(self.labels[begin : begin + plane]) + begin
            heights = self.state[seeds]
            self.state[seeds] = self.blocked
            self._wait(seeds, heights)

    def start(self, first: np.ndarray, label: int) -> None:
        """Flood from voxels, True in (Z, Y, X), before anything else."""
        voxels = np.flatnonzero(np.pad(first, 1).reshape(-1) & (self.state != self.blocked))
        self.labels[voxels] = label
        self.state[voxels] = self.blocked
        self._advance(voxels, -1, [])

    def finish(self) -> np.ndarray:
        """Flood level by level; returns the labels (Z, Y, X), without the rim."""
        while self.levels:
            level = heappop(self.levels)
            self._flood_level(level, self.waiting.pop(level))
        return self.labels.reshape(self.shape)[(slice(1, -1),) * 3]

    def _flood_level(self, level: int, arrived: list[Any]) -> None:
        """Flood from all that waits at a level; each front is what arrived before, in the order of its arrival."""
        while arrived:
            front = np.concatenate(arrived)
            arrived.clear()
            for begin in range(0, len(front), _FRONT):
                self._advance(front[begin : begin + _FRONT], level, arrived)

    def _reach(self, front: np.ndarray) -> Claims:
        """What the voxels of a front touch that nobody has, in their order; twice what two of them touch."""
        around = (front[:, None] + self.steps).reshape(-1)
        free = np.flatnonzero(self.state[around] != self.blocked)
        return around[free], free // 6

    def _advance(self, front: np.ndarray, level: int, arrived: list[Any]) -> None:
        voxels, source = self._reach(front)
        # A hollow behind the front belongs whole to whom reaches it first. A heap sees to that by itself, as what is
        # lower goes before the rest of the front. A front is flooded at once, so its hollows are filled first.
        if (self.state[voxels] < level).any():
            voxels, source = self._drain(front, (voxels, source), level)
        if not len(voxels):
            return
        voxels, heights = self._claim(voxels, self.labels[front[source]])
        # What is as high as the front is the next front of this level; the rest waits for its own level.
        now = heights == level
        if now.any():
            arrived.append(voxels[now].astype(self.index))
            voxels, heights = voxels[~now], heights[~now]
        self._wait(voxels, heights)

    def _claim(self, voxels: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give voxels, some of them named twice, to whom reached them first; returns each once, and its height."""
        # The labels serve as scratch paper: negative turns, which no instance has. numpy.unique would sort all claims.
        turn = np.arange(-1, -1 - len(voxels), -1, dtype=np.int32)
        self.labels[voxels[::-1]] = turn[::-1]  # of equal indices the last assignment stays, the first claim
        first = np.flatnonzero(self.labels[voxels] == turn)
        voxels = voxels[first]
        heights = self.state[voxels]
        self.labels[voxels], self.state[voxels] = labels[first], self.blocked
        return voxels, heights

    def _wait(self, voxels: np.ndarray, heights: np.ndarray) -> None:
        for level, chosen in groups(heights):
            self._queue(level, voxels[chosen].astype(self.index))

    def _queue(self, key: int, voxels: Any) -> None:
        if key not in self.waiting:
            self.waiting[key] = []
            heappush(self.levels, key)
        self.waiting[key].append(voxels)

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
