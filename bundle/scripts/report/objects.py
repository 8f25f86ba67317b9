"""How large the objects of a volume are, and how far from each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scripts.metrics.measure import join, measure
from scripts.report.sections import parts_of
from scripts.volume_io import ChunkedVolume
from scripts.volume_io.grid import Box

__all__ = ["Objects", "joined_objects", "measure_objects"]


class Objects(NamedTuple):
    """The objects of one volume or several, in voxels, or in µm.

    Attributes:
        sizes: volume of each.
        distances: from the centre of each to the nearest other centre; none where a volume holds but one.
    """

    sizes: np.ndarray
    distances: np.ndarray


def measure_objects(
    labels: ChunkedVolume,
    voxel_size: Sequence[float] | None = None,
    visit: Callable[[Box, np.ndarray], None] | None = None,
) -> Objects:
    """Measure the objects of labels (Z, Y, X), which are read once, part by part.

    Memory: 12 bytes for each voxel of a part, see `scripts.report.sections.parts_of`, and about 220 for each object.

    Args:
        labels: 0 for background, one number for each object.
        voxel_size: (z, y, x) in micrometres; None measures in voxels.
        visit: called with each part.
    """
    parts = []
    for box, part in parts_of(labels):
        ids = part if part.dtype.kind in "iu" else part.astype(np.int64)
        parts.append(measure(ids, np.empty((0, *ids.shape)), box, labels.shape))
        if visit is not None:
            visit(box, part)
    found = join(parts)
    steps = np.asarray(voxel_size or (1.0, 1.0, 1.0))
    centres = steps * found["position"] / found["voxels"][:, None]
    return Objects(found["voxels"] * math.prod(steps.tolist()), _to_nearest(centres))


def joined_objects(parts: Sequence[Objects]) -> Objects:
    """The objects of several volumes; distances are within each."""
    return Objects(np.concatenate([one.sizes for one in parts]), np.concatenate([one.distances for one in parts]))


def _to_nearest(centres: np.ndarray) -> np.ndarray:
    """From each of (N, 3) points to the nearest other; nothing for a single one."""
    return cKDTree(centres).query(centres, k=2)[0][:, 1] if len(centres) > 1 else np.zeros(0)
