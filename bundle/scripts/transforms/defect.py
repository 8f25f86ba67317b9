"""Defects of an image, which a generator is to repair: noise, blur and parts that are not there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage as ndi
from scripts.transforms.augmentation import RandVolume, RandVolumed
from scripts.volume_io.grid import shape_of

__all__ = [
    "RandCutBlur",
    "RandCutBlurd",
    "RandCutNoise",
    "RandCutNoised",
    "RandMissingParts",
    "RandMissingPartsd",
    "RandMotionBlur",
    "RandMotionBlurd",
]


def _cuboid(random: np.random.RandomState, shape: Sequence[int], share: float) -> tuple[slice, ...]:
    """A random box within (C, Z, Y, X), all channels, that takes `share` of each side (one voxel at least)."""
    sides = [max(1, int(share * n)) for n in shape[1:]]
    starts = [int(random.randint(n - side + 1)) for n, side in zip(shape[1:], sides, strict=True)]
    return (slice(None), *(slice(start, start + side) for start, side in zip(starts, sides, strict=True)))


class RandCutNoise(RandVolume):
    """Add even noise to the voxels of a random cuboid; they are clipped to [0, 1].

    Args:
        prob: how often it is done.
        share: the cuboid's part of each side.
        amplitude: noise is even in ±amplitude.
    """

    def __init__(self, prob: float = 0.5, share: float = 0.4, amplitude: float = 0.3) -> None:
        super().__init__(prob)
        self.share, self.amplitude = share, amplitude

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw cuboid and noise."""
        self.box = _cuboid(self.R, shape, self.share)
        sides = [shape[0], *shape_of(self.box[1:])]
        self.noise = self.R.uniform(-self.amplitude, self.amplitude, sides)

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Add the noise."""
        result = volume.copy()
        result[self.box] = np.clip(volume[self.box] + self.noise, 0, 1)
        return result


class RandCutBlur(RandVolume):
    """Take detail from a random cuboid: averaged down in the plane, then enlarged again to blocks of one grey value.

    Args:
        prob: how often it is done.
        share: the cuboid's part of each side.
        factors: (lowest, highest) of the resolution's loss.
    """

    def __init__(self, prob: float = 0.5, share: float = 0.4, factors: Sequence[float] = (2.0, 8.0)) -> None:
        super().__init__(prob)
        self.share = share
        self.lowest, self.highest = factors

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw cuboid and factor."""
        self.box = _cuboid(self.R, shape, self.share)
        self.factor = self.R.uniform(self.lowest, self.highest)

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Blur the cuboid."""
        result = volume.copy()
        part = torch.as_tensor(np.ascontiguousarray(volume[self.box], np.float32))
        fine = part.shape[2:]
        coarse = F.interpolate(part, size=[max(1, int(n / self.factor)) for n in fine], mode="area")
        result[self.box] = F.interpolate(coarse, size=fine, mode="nearest").numpy()
        return result


class RandMotionBlur(RandVolume):
    """Smear some sections along y or along x, all in one direction.

    Args:
        prob: how often it is done.
        sections: how many, or all where there are fewer.
        length: of the smear, in voxels: the mean over a line of so many, reflected at the border.
    """

    def __init__(self, prob: float = 0.5, sections: int = 2, length: int = 11) -> None:
        super().__init__(prob)
        self.sections, self.length = sections, length

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw sections and direction."""
        self.smeared = self.R.choice(shape[1], min(self.sections, shape[1]), replace=False)
        self.axis = int(self.R.randint(2, 4))

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Smear the sections."""
        result = volume.copy()
        result[:, self.smeared] = ndi.uniform_filter1d(volume[:, self.smeared], self.length, self.axis, mode="mirror")
        return result


class RandMissingParts(RandVolume):
    """Fill a wide band across sections with the section's mean, as where a section is torn or folded.

    The band follows a random line from one edge to the opposite one, and reaches equally far along the edge's direction
    to either side (a line of voxels dilated by a cross, as published). By default it covers 40 to 60 % of a section,
    less where it runs along an edge.

    Args:
        prob: how often it is done.
        section_prob: how often a section gets a band, once it is done.
        spared: sections without a band that follow each one with a band.
        half_width: how far the band reaches, as a share of the side.
    """

    def __init__(self, prob: float = 0.5, section_prob: float = 0.9, spared: int = 1, half_width: float = 0.3) -> None:
        super().__init__(prob)
        self.section_prob, self.spared, self.half_width = section_prob, spared, half_width

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw the bands, section by section."""
        self.bands: dict[int, np.ndarray] = {}
        section = 0
        while section < shape[1]:
            if self.R.uniform() < self.section_prob:
                self.bands[section] = self._band(shape[2:])
                section += self.spared
            section += 1

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Fill the bands."""
        result = volume.copy()
        for section, band in self.bands.items():
            plane = volume[:, section]
            mean = plane.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
            result[:, section] = np.where(band, mean, plane)
        return result

    def _band(self, shape: Sequence[int]) -> np.ndarray:
        """Mask (Y, X)."""
        downwards = self.R.uniform() < 0.5
        length, width = shape if downwards else shape[::-1]
        start, end = self.R.uniform(0, width - 1, 2)
        line = np.linspace(start, end, length)
        band = np.abs(np.arange(width) - line[:, None]) <= self.half_width * width
        return band if downwards else band.T


class RandCutNoised(RandVolumed):
    """Dictionary form of :class:`RandCutNoise`, whose `share` and `amplitude` it takes."""

    array = RandCutNoise


class RandCutBlurd(RandVolumed):
    """Dictionary form of :class:`RandCutBlur`, whose `share` and `factors` it takes."""

    array = RandCutBlur


class RandMotionBlurd(RandVolumed):
    """Dictionary form of :class:`RandMotionBlur`, whose `sections` and `length` it takes."""

    array = RandMotionBlur


class RandMissingPartsd(RandVolumed):
    """Dictionary form of :class:`RandMissingParts`, whose `section_prob`, `spared` and `half_width` it takes."""

    array = RandMissingParts
