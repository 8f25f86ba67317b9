"""What both domains are drawn from: spacing, random fields, depth inside an object."""

from __future__ import annotations

import edt
import numpy as np
from scipy import ndimage as ndi

__all__ = ["SPACING", "depth", "smooth_noise", "to_uint8"]

SPACING = (2.0, 1.0, 1.0)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Gaussian random field (Z, Y, X) of mean 0 and deviation 1, with the same ``sigma`` in all directions."""
    step = max(1, int(sigma / 4))  # a coarse grid is enough for a smooth field, and much faster
    spacing = np.asarray(SPACING)
    coarse = np.ceil(np.asarray(shape) * spacing / step).astype(int) + 2
    field = ndi.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap")
    grid = [np.arange(n, dtype=np.float32) * s / step for n, s in zip(shape, spacing, strict=True)]
    if step == 1:
        field = field[np.ix_(*[g.astype(int) for g in grid])]
    else:
        field = ndi.map_coordinates(field, np.meshgrid(*grid, indexing="ij"), order=1)
    return (field - field.mean()) / (field.std() + 1e-6)


def depth(label: np.ndarray) -> np.ndarray:
    """Distance of each nucleus voxel to what is not its nucleus; 0 outside. The border of the volume is no surface."""
    return edt.edt(label, anisotropy=SPACING)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Tones 0..1 to 0..255, clipped."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
