"""What an image alone says about the objects in it: their polarity, their size, and where they stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scripts.classical import classical_foreground
from scripts.match_domains.blob import coarse_blobs
from scripts.match_domains.intensity import image_polarity
from scripts.match_domains.piece import Readable, grey_range, normalised
from scripts.volume_io.grid import Box

__all__ = ["Look", "Surroundings", "whole_image"]

PER_WIDTH = 3.3
"""Diameter of a ball for each unit of the Gaussian width that answers to it most."""


@dataclass(frozen=True)
class Look:
    """How objects look in a volume.

    Attributes:
        window: grey values that become 0 and 1.
        bright: whether objects are brighter than their surroundings; None: cannot tell.
        diameters: (z, plane) of the objects in voxels, roughly.
    """

    window: tuple[float, float]
    bright: bool | None
    diameters: tuple[float, float]

    @classmethod
    def of(cls, image: Readable, seed: int = 0) -> Look:
        """Look at a volume (Z, Y, X) of any numeric type. Memory: about 400 MB; `seed` is of the places."""
        blobs = coarse_blobs(image, seed)
        bright = image_polarity(*blobs)
        z, plane = (blobs[1 if bright is False else 0].widths * PER_WIDTH).tolist()
        return cls(grey_range(image), bright, (z, plane))

    def at(self, part: np.ndarray) -> Surroundings:
        """Look at a part (z, y, x) of the volume."""
        crop = normalised(part, self.window)
        return Surroundings(1 - crop if self.bright is False else crop, self.bright, self.diameters)


@dataclass(frozen=True)
class Surroundings:
    """A crop, and how objects look in the volume that it is from.

    Attributes:
        crop: (Z, Y, X), objects bright, from 0 to 1; as it is where the polarity is unknown.
        bright: whether objects are brighter than their surroundings; None: cannot tell.
        diameters: (z, plane) of the objects in voxels, roughly.
    """

    crop: np.ndarray
    bright: bool | None
    diameters: tuple[float, float]

    @cached_property
    def outstanding(self) -> np.ndarray:
        """Mask (Z, Y, X) of what a local Otsu threshold finds. It fails in haze, so it may veto, but never rank."""
        widest = max(self.diameters)
        lengths = {"smoothing": 0.075 * widest, "background": widest, "opening": 0.1 * widest}
        return classical_foreground(self.crop, self.spacing, **lengths)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size (z, y, x) of a voxel by which objects would be balls, in voxels of the finest axis."""
        z, plane = self.diameters
        widest = max(z, plane)
        return widest / z, widest / plane, widest / plane


def whole_image(image: Readable, boxes: Sequence[Box], seed: int = 0) -> list[Surroundings]:
    """Look at crops of an image (Z, Y, X).

    Memory: 4 bytes per voxel of the crops, and about 400 MB.

    Args:
        image: of any numeric type.
        boxes: the crops.
        seed: of the places where size and polarity are measured.
    """
    look = Look.of(image, seed)
    return [look.at(image[box]) for box in boxes]
