"""The shape of instances, to compare with labelled objects of another size."""

from __future__ import annotations

import fastremap
import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import ConvexHull

__all__ = ["solidity"]

SMALLEST = 30
"""Voxels of the instances that are looked at: smaller ones have the shape of the grid."""
MOST = 200
"""Instances that are looked at."""


def solidity(instances: np.ndarray, seed: int = 0) -> float:
    """Median share of its convex hull that an instance fills, 1 for a box; it does not depend on the voxel size.

    Memory: 8 bytes per voxel.

    Args:
        instances: (Z, Y, X), 0 for background.
        seed: of the instances that are looked at.

    Returns:
        NaN where no instance has `SMALLEST` voxels.
    """
    ids, voxels = fastremap.unique(instances, return_counts=True)
    large = ids[(ids > 0) & (voxels >= SMALLEST)]
    if not len(large):
        return float("nan")
    chosen = np.random.default_rng(seed).permutation(large)[:MOST]
    numbered = fastremap.remap(
        fastremap.mask_except(instances, chosen.tolist()),
        {0: 0} | {int(id_): i for i, id_ in enumerate(chosen, 1)},
    ).astype(np.int32)
    boxes = ndi.find_objects(numbered)
    return float(np.median([_filled(numbered[box] == i) for i, box in enumerate(boxes, 1)]))


def _filled(mask: np.ndarray) -> float:
    """Share of the convex hull of its voxels' corners that a mask (Z, Y, X) fills."""
    z, y = np.nonzero(mask.any(axis=2))
    rows = mask[z, y]
    ends = rows.argmax(axis=1), mask.shape[2] - rows[:, ::-1].argmax(axis=1)
    corners = [np.stack([z + dz, y + dy, x], axis=1) for x in ends for dz in (0, 1) for dy in (0, 1)]
    return float(np.count_nonzero(mask) / ConvexHull(np.unique(np.concatenate(corners), axis=0)).volume)
