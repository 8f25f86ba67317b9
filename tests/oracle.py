"""The watershed of scikit-image 0.24 as plainly as it can be written: its heap, swap by swap, in Python."""

from __future__ import annotations

import numpy as np

Item = tuple[float, int, int]  # height, turn in which it was reached (0 for seeds), flat index


def watershed(heights: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels (Z, Y, X) of a 6-connected flood; of items of equal height and turn, the place in the heap decides."""
    level, inside, labels = (np.pad(a, 1) for a in (heights.astype(float), mask, np.where(mask, seeds, 0)))
    plane, line = labels.shape[1] * labels.shape[2], labels.shape[2]
    level, inside, flat = level.ravel().tolist(), inside.ravel().tolist(), labels.ravel().tolist()
    heap: list[Item] = []
    for voxel in np.flatnonzero(labels).tolist():
        push(heap, (level[voxel], 0, voxel))
    turn = 1
    while heap:
        voxel = pop(heap)[2]
        for beside in (voxel - plane, voxel - line, voxel - 1, voxel + 1, voxel + line, voxel + plane):
            if inside[beside] and not flat[beside]:
                turn += 1
                flat[beside] = flat[voxel]
                push(heap, (level[beside], turn, beside))
    return np.array(flat, np.int32).reshape(labels.shape)[1:-1, 1:-1, 1:-1]


def push(heap: list[Item], item: Item) -> None:
    heap.append(item)
    child = len(heap) - 1
    while child and heap[child][:2] < heap[parent := (child - 1) // 2][:2]:
        heap[child], heap[parent] = heap[parent], heap[child]
        child = parent


def pop(heap: list[Item]) -> Item:
    heap[0], heap[-1] = heap[-1], heap[0]
    first = heap.pop()
    at = 0
    while True:
        smallest = at
        for child in (2 * at + 1, 2 * at + 2):
            if child < len(heap) and heap[child][:2] < heap[smallest][:2]:
                smallest = child
        if smallest == at:
            return first
        heap[at], heap[smallest] = heap[smallest], heap[at]
        at = smallest
