"""Deformation within the plane: each voxel of a section is taken from elsewhere in the same section."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage as ndi
from scripts.errors import InputError
from scripts.transforms.augmentation import RandVolume, RandVolumed

__all__ = ["RandElasticInPlane", "RandElasticInPlaned", "RandRescaleInPlane", "RandRescaleInPlaned", "warped"]


def warped(volume: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Take every section's voxels from given places in it: bilinear for floats, the nearest for whole numbers.

    Args:
        volume: (C, Z, Y, X).
        places: (2, Y, X), y and x in voxels, float32. Beyond the border the section goes on reflected.

    Memory: the result, and for floats 4 bytes per voxel more where they are not float32.
    """
    shape = volume.shape
    y, x = (_reflected(place, n) for place, n in zip(places, shape[2:], strict=True))
    if volume.dtype.kind != "f":
        at = np.rint(y).astype(np.intp) * shape[3] + np.rint(x).astype(np.intp)
        return volume.reshape(-1, shape[2] * shape[3]).take(at.ravel(), axis=1).reshape(shape)
    grid = np.stack([2 * x / max(shape[3] - 1, 1) - 1, 2 * y / max(shape[2] - 1, 1) - 1], axis=-1)
    # Sections as the channels of one image: where a voxel comes from is then worked out once for all of them.
    sections = torch.as_tensor(np.ascontiguousarray(volume, np.float32)).reshape(1, -1, *shape[2:])
    moved = F.grid_sample(sections, torch.as_tensor(grid)[None], padding_mode="border", align_corners=True)
    return moved.reshape(shape).numpy().astype(volume.dtype, copy=False)


def plane(shape: Sequence[int]) -> np.ndarray:
    """The places (2, Y, X), float32, of the voxels of a section themselves."""
    return np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij"))


def _reflected(place: np.ndarray, length: int) -> np.ndarray:
    """Bring places into [0, length - 1] by reflection about the outermost voxels."""
    last = np.float32(length - 1)
    inside = np.abs(place)
    return np.clip(np.minimum(inside, np.abs(2 * last - inside)), 0, last)


class RandElasticInPlane(RandVolume):
    """Wavy deformation, one field of displacements for all sections (Simard et al., ICDAR 2003).

    Displacements along y and x are noise, even in [-alpha, alpha], smoothed by a Gaussian of `sigma`; their deviation
    is then about 0.16 alpha / sigma: 0.65 voxels by default, up to three.

    Args:
        prob: how often it is done.
        alpha: amplitude of the noise, in voxels.
        sigma: deviation of the Gaussian, in voxels.
    """

    def __init__(self, prob: float = 0.5, alpha: float = 16.0, sigma: float = 4.0) -> None:
        super().__init__(prob)
        self.alpha, self.sigma = alpha, sigma

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw the field."""
        noise = self.R.uniform(-self.alpha, self.alpha, (2, *shape[2:])).astype(np.float32)
        self.places = plane(shape[2:]) + ndi.gaussian_filter(noise, (0, self.sigma, self.sigma))

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Deform all sections."""
        return warped(volume, self.places)


class RandRescaleInPlane(RandVolume):
    """Enlarge or shrink along y and along x, each by a factor of its own, about the centre; the size stays.

    Args:
        prob: how often it is done.
        factors: (lowest, highest); below 1 more of the scene comes in at the border, reflected where there is none.
    """

    def __init__(self, prob: float = 0.5, factors: Sequence[float] = (0.8, 1.25)) -> None:
        super().__init__(prob)
        if len(factors) != 2 or not 0 < factors[0] <= factors[1]:
            raise InputError(f"RandRescaleInPlane: factors {factors}: expected (lowest, highest) above 0.")
        self.lowest, self.highest = factors

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw the two factors."""
        factor = self.R.uniform(self.lowest, self.highest, 2).astype(np.float32).reshape(2, 1, 1)
        centre = (np.array(shape[2:], np.float32).reshape(2, 1, 1) - 1) / 2
        self.places = centre + (plane(shape[2:]) - centre) / factor

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Resize all sections."""
        return warped(volume, self.places)


class RandElasticInPlaned(RandVolumed):
    """Dictionary form of :class:`RandElasticInPlane`, whose `alpha` and `sigma` it takes."""

    array = RandElasticInPlane


class RandRescaleInPlaned(RandVolumed):
    """Dictionary form of :class:`RandRescaleInPlane`, whose `factors` it takes."""

    array = RandRescaleInPlane
