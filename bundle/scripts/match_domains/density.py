"""How much of each domain objects fill, and what that asks of patches of X and of maps of Y."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scripts.classical import classical_foreground
from scripts.match_domains.piece import piece_slices

__all__ = ["image_share", "label_share", "share_interval", "wanted_shares"]

PIECE = (96, 256, 256)
# Shares that differ by less than this factor are left alone; those of patches differ from the mean by about the reach.
LIMIT, REACH = 1.5, 0.2


def label_share(label: np.ndarray) -> float:
    """Share of labelled voxels of (Z, Y, X)."""
    return float(np.mean([np.count_nonzero(plane) / plane.size for plane in label]))


def image_share(image: np.ndarray, diameters: Sequence[float], bright: bool, seed: int = 0) -> float:
    """Share of an image (Z, Y, X) that stands out from its surroundings, by the classical recipe, in random parts.

    Args:
        image: the whole volume.
        diameters: of its objects (z, y, x) in voxels.
        bright: whether objects are brighter than what is around them.
        seed: of the parts.
    """
    spacing = max(diameters) / np.asarray(diameters, float)
    width = max(diameters)
    sizes = {"smoothing": width / 24, "background": width, "opening": width / 12}
    shares = []
    for window in piece_slices(image.shape, PIECE, seed):
        part = image[window].astype(np.float32)
        shares.append(classical_foreground(part if bright else -part, tuple(spacing), **sizes).mean())
    return float(np.mean(shares))


def wanted_shares(x: float, y: float) -> tuple[float, float] | None:
    """Lowest and highest share that patches of X are to have; None where X is about as dense as Y."""
    if min(x, y) <= 0 or max(x / y, y / x) < LIMIT:
        return None
    return share_interval(y)


def share_interval(y: float) -> tuple[float, float]:
    """Lowest and highest share that patches are to have where the volume of Y has `y`."""
    return round(max(0.0, y - REACH), 2), round(min(1.0, y + REACH), 2)
