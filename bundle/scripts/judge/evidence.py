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

__all__ = ["Surroundings", "whole_image"]

PER_WIDTH = 3.3
"""Diameter of a ball for each unit of the Gaussian width that answers to it most."""


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
        z, plane = self.diameters
        widest = max(z, plane)
        spacing = (widest / z, widest / plane, widest / plane)
        lengths = {"smoothing": 0.075 * widest, "background": widest, "opening": 0.1 * widest}
        return classical_foreground(self.crop, spacing, **lengths)


def whole_image(image: Readable, boxes: Sequence[Box], seed: int = 0) -> list[Surroundings]:
    """Look at crops of an image (Z, Y, X).

    Memory: 4 bytes per voxel of the crops, and about 400 MB.

    Args:
        image: of any numeric type.
        boxes: the crops.
        seed: of the places where size and polarity are measured.
    """
    blobs = coarse_blobs(image, seed)
    bright = image_polarity(*blobs)
    z, plane = (blobs[1 if bright is False else 0].widths * PER_WIDTH).tolist()
    window = grey_range(image)
    crops = [normalised(image[box], window) for box in boxes]
    return [Surroundings(1 - crop if bright is False else crop, bright, (z, plane)) for crop in crops]
