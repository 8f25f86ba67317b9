"""Volumes continued beyond their borders."""

from __future__ import annotations

import numpy as np

__all__ = ["reflected"]


def reflected(positions: slice, padding: int, size: int) -> np.ndarray:
    """Return where the voxels of a part of a side come from that is padded by reflection at both ends.

    What a short side cannot reflect is replicated.

    Args:
        positions: on the padded side.
        padding: voxels at both ends.
        size: of the side without them.

    >>> reflected(slice(0, 9), 3, 4)
    array([3, 2, 1, 0, 1, 2, 3, 2, 1])
    """
    fits = min(padding, size - 1)
    index = np.abs(np.clip(np.arange(positions.start, positions.stop) - padding, -fits, size - 1 + fits))
    return np.where(index < size, index, 2 * (size - 1) - index)
