"""What becomes of instances below a size: background, part of a neighbour, or left as they are.

Works in place and section by section, so that no copy of a large volume is made. The modes and their order of work are
those of ``remove_small_instances`` in PyTorch Connectomics.
"""

from __future__ import annotations

import fastremap
import numpy as np
from scipy.ndimage import binary_dilation, find_objects
from scripts.errors import InputError

__all__ = ["SMALL_MODES", "absorb_small", "close_gaps", "drop_small", "handle_small"]

SMALL_MODES = ("none", "background", "background_2d", "neighbor", "neighbor_2d")
Box = tuple[slice, ...]


def handle_small(labels: np.ndarray, min_size: int, mode: str) -> None:
    """Treat, in place, the ids of labels (Z, Y, X) that have fewer than min_size voxels.

    Args:
        labels: whole numbers from 0 on, changed in place; the ids that stay keep their number.
        min_size: in voxels.
        mode: "background", "neighbor", either with "_2d" appended (each section by itself), or "none".

    Raises:
        InputError: when the mode is unknown.
    """
    if mode not in SMALL_MODES:
        raise InputError(f"small_mode: found {mode!r}, expected one of {', '.join(SMALL_MODES)}.")
    treat = drop_small if mode.startswith("background") else absorb_small
    if mode.endswith("_2d"):
        for z in range(len(labels)):
            treat(labels[z : z + 1], min_size)
    elif mode != "none":
        treat(labels, min_size)


def drop_small(labels: np.ndarray, min_size: int) -> None:
    """Set, in place, ids of labels (Z, Y, X) with fewer than min_size voxels to 0."""
    sizes = _sizes(labels)
    kept = np.where(sizes >= min_size, np.arange(len(sizes)), 0).astype(labels.dtype)
    for section in labels:
        section[...] = kept[section]


def close_gaps(labels: np.ndarray) -> np.ndarray:
    """Return labels (Z, Y, X) whose ids count from 1 in the order that they had; the array itself is changed.

    Viewers show ids as grey values or colours, and few instances with large ids look alike.
    """
    ids = fastremap.unique(labels)
    ids = ids[ids > 0].tolist()
    if not ids or ids[-1] == len(ids):
        return labels
    new = {0: 0, **dict(zip(ids, range(1, len(ids) + 1), strict=True))}
    return np.asarray(fastremap.remap(labels, new, in_place=True))


def absorb_small(labels: np.ndarray, min_size: int) -> None:
    """Give, in place, ids of labels (Z, Y, X) with fewer than min_size voxels to a neighbour in the plane.

    In ascending order each becomes the id most frequent in the ring of one voxel around it in its sections (the lowest
    of equals), or 0 where no other touches it. Sizes are those at the start; what it absorbed before moves with it.
    """
    sizes = _sizes(labels)
    boxes = find_objects(labels)
    for small in np.flatnonzero((sizes > 0) & (sizes < min_size)):
        if small == 0:
            continue
        box = boxes[small - 1]
        heir = _neighbour(labels[_grown(box, labels.shape)], int(small))
        region = labels[box]
        region[region == small] = heir
        if heir:
            boxes[heir - 1] = _joined(boxes[heir - 1], box)


def _sizes(labels: np.ndarray) -> np.ndarray:
    """Voxels of every id from 0 to the largest; counted by section, as ``bincount`` copies what it counts."""
    sizes = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    for section in labels:
        counts = np.bincount(section.ravel())
        sizes[: len(counts)] += counts
    return sizes


def _neighbour(labels: np.ndarray, small: int) -> int:
    """The id most frequent beside the small one, 0 if there is none."""
    mask = labels == small
    ring = binary_dilation(mask, np.ones((1, 3, 3), bool)) & ~mask
    counts = np.bincount(labels[ring], minlength=1)
    counts[0] = 0
    return int(counts.argmax())


def _grown(box: Box, shape: tuple[int, ...]) -> Box:
    """The box with one voxel more on all sides in the plane."""
    inner = (slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box[1:], shape[1:], strict=True))
    return (box[0], *inner)


def _joined(one: Box, other: Box) -> Box:
    """The smallest box around two."""
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
