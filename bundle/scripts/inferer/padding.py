"""Volumes continued beyond their borders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["pad_by_reflection", "reflected"]


def pad_by_reflection(volume: torch.Tensor, padding: Sequence[int]) -> torch.Tensor:
    """Pad both ends of z, y and x by reflection; what a short side cannot reflect is replicated.

    Args:
        volume: (B, C, Z, Y, X).
        padding: voxels (z, y, x).

    Returns:
        The padded volume, or `volume` itself if nothing is to be padded.
    """
    fits = [min(p, n - 1) for p, n in zip(padding, volume.shape[2:], strict=True)]
    rest = [p - fit for p, fit in zip(padding, fits, strict=True)]
    for sides, mode in ((fits, "reflect"), (rest, "replicate")):
        if any(sides):
            volume = F.pad(volume, [side for side in reversed(sides) for _ in range(2)], mode=mode)
    return volume


def reflected(positions: slice, padding: int, size: int) -> np.ndarray:
    """Return where the voxels of a part of a padded side come from, as `pad_by_reflection` pads.

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
