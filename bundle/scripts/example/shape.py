"""Shapes: nuclei of two size classes, half of them pressed against another."""

from __future__ import annotations

import cc3d
import numpy as np
from scripts.example.field import SPACING, smooth_noise

__all__ = ["draw_nuclei"]

_DIAMETERS = (16.0, 24.0)  # the two size classes
_LARGE_SHARE = 0.6
_NUCLEI_PER_VOLUME = 175 / (128 * 192 * 192)  # per cubic voxel of y


def _place(rng: np.random.Generator, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 3) and radii (N,): half of the nuclei are thrown at random, half against one already there."""
    centres, radii = np.empty((0, 3)), np.empty(0)
    wanted = max(4, round(_NUCLEI_PER_VOLUME * extent.prod()))
    for _ in range(200 * wanted):
        radius = _DIAMETERS[int(rng.random() < _LARGE_SHARE)] / 2 * rng.normal(1, 0.05)
        centre = rng.uniform(0, extent)
        if len(radii) and rng.random() < 0.5:
            centre = _beside(rng, centres, radii, radius)
        gap = np.linalg.norm(centres - centre, axis=1) / (radii + radius)
        if (gap > 0.93).all() and (centre >= 0).all() and (centre < extent).all():
            centres, radii = np.vstack([centres, centre]), np.append(radii, radius)
        if len(radii) == wanted:
            break
    return centres, radii


def _beside(rng: np.random.Generator, centres: np.ndarray, radii: np.ndarray, radius: float) -> np.ndarray:
    """Centre (3,) of a nucleus pressed against one of those placed."""
    neighbour = rng.integers(len(radii))
    direction = rng.normal(size=3)
    reach = rng.uniform(0.94, 1.02) * (radii[neighbour] + radius)
    return centres[neighbour] + direction / np.linalg.norm(direction) * reach


def draw_nuclei(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Labels (Z, Y, X) uint16: bent ellipsoids; a voxel claimed twice goes to the nucleus it is deeper in."""
    centres, radii = _place(rng, np.asarray(shape) * SPACING)
    bend = np.stack([1.3 * smooth_noise(rng, shape, 5.0) for _ in range(3)], axis=-1)
    nearest = np.ones(shape, np.float32)
    label = np.zeros(shape, np.int32)
    for i, (centre, radius) in enumerate(zip(centres, radii, strict=True), 1):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] / (radius * rng.uniform(0.85, 1.2, (3, 1)))
        box = _box(centre, 1.5 * radius + 3, shape)
        depth = _ellipsoid(centre, axes, box, bend)
        inside = depth < nearest[box]
        nearest[box][inside] = depth[inside]
        label[box][inside] = i
    return _tidy(label)


def _box(centre: np.ndarray, reach: float, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices of the part of the volume within ``reach`` of a centre."""
    low = np.maximum((centre - reach) / SPACING, 0).astype(int)
    high = np.minimum((centre + reach) / SPACING + 1, shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _ellipsoid(centre: np.ndarray, axes: np.ndarray, box: tuple[slice, ...], bend: np.ndarray) -> np.ndarray:
    """Distance to the centre over the radius in that direction, within the box, in bent space."""
    points = np.moveaxis(np.mgrid[box], 0, -1) * SPACING + bend[box]
    return np.linalg.norm((points - centre) @ axes.T, axis=-1).astype(np.float32)


def _tidy(label: np.ndarray, smallest: int = 250) -> np.ndarray:
    """The largest piece of each nucleus, slivers under ``smallest`` voxels dropped, ids 1..N by first voxel, uint16."""
    pieces = cc3d.connected_components(label, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    nucleus = np.zeros(len(sizes), int)
    nucleus[pieces] = label
    order = np.lexsort((-sizes, nucleus))
    keep = np.zeros(len(sizes), bool)
    keep[order[np.unique(nucleus[order], return_index=True)[1]]] = True
    keep &= (sizes >= smallest) & (nucleus > 0)
    return np.where(keep, np.cumsum(keep), 0).astype(np.uint16)[pieces]
