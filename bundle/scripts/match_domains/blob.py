"""Scale space: how strongly a volume answers to blobs of a width along z and of one in the plane.

The answer of a volume to a width is the scale-normalised Laplacian of a Gaussian with a width of its own for each axis
(Lindeberg, Feature detection with automatic scale selection, 1998, for one width): -Σ σ_a² ∂²/∂a². For an ellipsoid
that is Gaussian along each axis it has one maximum, at widths in proportion to those of the ellipsoid. The strength
over all the volume is the cubic mean of its positive part, in which what stands out counts more than texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft
from scripts.match_domains.piece import Readable, block_means, grey_range, normalised, piece_slices

__all__ = ["BlobStrength", "CoarseBlobs", "coarse_blobs", "refined_widths"]

COARSE, FINE = 2**0.5, 2**0.25
PIECE = (64, 160, 160)
SMALLEST_SIDE = 48
# Exponents of FINE between which widths are looked for: 0.35 to 27 voxels along z, 0.7 to 45 in the plane.
BOUNDS = ((-6, 19), (-2, 22))


class CoarseBlobs(NamedTuple):
    """Widths (z, plane) in voxels to which a volume answers most, and how strongly."""

    widths: np.ndarray
    strength: float


class BlobStrength:
    """Answers to any number of widths, from one cosine transform (which reflects at the borders).

    Memory: 12 bytes per voxel.

    Args:
        volumes: parts (Z, Y, X) float32 of one volume, whose answers are averaged.
    """

    def __init__(self, volumes: Sequence[np.ndarray]) -> None:
        self.spectra = [fft.dctn(volume, norm="ortho").astype(np.float32) for volume in volumes]

    def __call__(self, z: float, plane: float) -> tuple[float, float]:
        """Return the strength of bright and of dark blobs of Gaussian widths `z` and `plane` in voxels."""
        cubes, voxels = np.zeros(2), 0
        for spectrum in self.spectra:
            answer = _laplacian(spectrum, (z, plane, plane))
            cubes += [(np.clip(part, 0, None) ** 3).sum(dtype=float) for part in (answer, -answer)]
            voxels += answer.size
        bright, dark = (cubes / voxels) ** (1 / 3)
        return float(bright), float(dark)


def coarse_blobs(image: Readable, seed: int = 0) -> tuple[CoarseBlobs, CoarseBlobs]:
    """Find the widths that stand out, over all sizes that fit, in steps of √2.

    Args:
        image: (Z, Y, X) of any numeric type. Parts of it are read and looked at, at 1, 1/2, 1/4 … of its resolution.
        seed: of the places of the parts.

    Returns:
        Those of bright blobs and those of dark ones.
    """
    window = grey_range(image)
    found: dict[tuple[float, float], tuple[float, float]] = {}
    level = 1
    while level == 1 or min(image.shape[1:]) // level >= SMALLEST_SIDE:
        depth = max(1, level // 2)
        depth = depth if image.shape[0] // depth >= SMALLEST_SIDE else 1
        blocks = (depth, level, level)
        size = [side * block for side, block in zip(PIECE, blocks, strict=True)]
        parts = [block_means(image, blocks, part) for part in piece_slices(image.shape, size, seed, count=1)]
        strength = BlobStrength([normalised(part, window) for part in parts])
        for i, j in np.ndindex(9, 7):
            z, plane = COARSE ** (i - 2), COARSE**j
            found[z * depth, plane * level] = strength(z, plane)
        level *= 2
    best = [max(found, key=lambda widths, sign=sign: found[widths][sign]) for sign in (0, 1)]  # type: ignore[misc]
    bright, dark = (CoarseBlobs(np.array(best[sign]), found[best[sign]][sign]) for sign in (0, 1))
    return bright, dark


def refined_widths(volumes: Sequence[np.ndarray], start: Sequence[float]) -> np.ndarray | None:
    """Climb from the widths (z, plane) to those of the strongest bright blobs, between steps by a parabola.

    Returns:
        Widths (2,) in voxels; None where the strength grows out of the range of sizes, so that there is no blob.
    """
    strength, known = BlobStrength(volumes), {}

    def at(i: int, j: int) -> float:
        if (i, j) not in known:
            known[i, j] = strength(FINE**i, FINE**j)[0]
        return known[i, j]

    here = tuple(round(float(np.log(width) / np.log(FINE))) for width in start)
    while True:
        if any(not low < k < high for k, (low, high) in zip(here, BOUNDS, strict=True)):
            return None
        i, j = max(((here[0] + a, here[1] + b) for a in (0, -1, 1) for b in (0, -1, 1)), key=lambda step: at(*step))
        if at(i, j) <= at(*here):
            break
        here = (i, j)
    i, j = here
    offsets = _vertex(at(i - 1, j), at(i, j), at(i + 1, j)), _vertex(at(i, j - 1), at(i, j), at(i, j + 1))
    return np.array([FINE ** (k + offset) for k, offset in zip(here, offsets, strict=True)])


def _laplacian(spectrum: np.ndarray, widths: Sequence[float]) -> np.ndarray:
    """Answer (Z, Y, X) of a volume given by its cosine transform: positive in bright blobs."""
    axes = np.ix_(*[(np.pi * np.arange(n) / n * w) ** 2 for n, w in zip(spectrum.shape, widths, strict=True)])
    squared = sum(axis.astype(np.float32) for axis in axes)
    return fft.idctn(spectrum * squared * np.exp(-squared / 2), norm="ortho", overwrite_x=True)


def _vertex(before: float, at: float, after: float) -> float:
    """Place of the top of the parabola through three values at -1, 0 and 1."""
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))
