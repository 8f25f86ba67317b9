"""Sections out of place: cut and scanned one after the other, they are shifted, turned or lost."""

from __future__ import annotations

import math

import numpy as np
from scripts.errors import InputError
from scripts.transforms.augmentation import RandVolume, RandVolumed
from scripts.transforms.warp import plane, warped

__all__ = ["RandMisalignment", "RandMisalignmentd", "RandMissingSection", "RandMissingSectiond"]


class RandMisalignment(RandVolume):
    """Shift or turn one inner section against the others ("slip"), or it and all that follow; a coin each.

    A shift moves both groups by whole voxels, each by up to half of `displacement` along y and x. A turn is about the
    centre of the section, by an angle that moves its corners by up to `displacement`. What comes in at the border is
    reflected: leave a margin of half of `displacement` on each side, and cut it off afterwards.

    Args:
        prob: how often it is done.
        displacement: the most that two sections are apart along y or x, in voxels.
        rotation: share of turns, the rest are shifts.
        slip: share in which one section alone is moved.
    """

    def __init__(self, prob: float = 0.5, displacement: int = 16, rotation: float = 0.5, slip: float = 0.5) -> None:
        super().__init__(prob)
        self.displacement, self.rotation, self.slip = displacement, rotation, slip

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw which sections are moved, and where the voxels of both groups come from."""
        first = int(self.R.randint(1, max(shape[1] - 1, 2)))  # not the outermost
        self.moved = slice(first, first + 1 if self.R.uniform() < self.slip else None)
        grid = plane(shape[2:])
        if self.R.uniform() < self.rotation:
            self.places = (None, self._turned(grid))
        else:
            low, high = -(self.displacement // 2), (self.displacement + 1) // 2
            offsets = self.R.randint(low, high + 1, (2, 2, 1, 1)).astype(np.float32)
            self.places = (grid + offsets[0], grid + offsets[1])

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Move the sections."""
        rest, moved = self.places
        result = volume.copy() if rest is None else warped(volume, rest)
        result[:, self.moved] = warped(volume[:, self.moved], moved)
        return result

    def _turned(self, grid: np.ndarray) -> np.ndarray:
        centre = grid[:, -1:, -1:] / 2
        radius = float(np.linalg.norm(centre))
        largest = 2 * math.asin(min(1.0, self.displacement / 2 / max(radius, 1.0)))
        angle = self.R.uniform(-largest, largest)
        y, x = grid - centre
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return centre + np.stack([cos * y - sin * x, sin * y + cos * x])


class RandMissingSection(RandVolume):
    """Take sections out, never the outermost; those around close up, and (C, Z, Y, X) becomes (C, Z - count, Y, X).

    Draw samples with `count` sections more, and cut all to one size afterwards.

    Args:
        prob: how often it is done.
        count: sections that go.
    """

    def __init__(self, prob: float = 0.5, count: int = 2) -> None:
        super().__init__(prob)
        self.count = count

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw the sections that go.

        Raises:
            InputError: when there are too few.
        """
        inner = shape[1] - 2
        if inner < self.count:
            raise InputError(
                f"RandMissingSection: found {shape[1]} sections, expected {self.count + 2} or more to lose "
                f"{self.count}; draw larger samples, or set its probability to 0."
            )
        self.lost = 1 + self.R.choice(inner, self.count, replace=False)

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Leave the sections out."""
        return np.delete(volume, self.lost, axis=1)


class RandMisalignmentd(RandVolumed):
    """Dictionary form of :class:`RandMisalignment`, whose `displacement`, `rotation` and `slip` it takes."""

    array = RandMisalignment


class RandMissingSectiond(RandVolumed):
    """Dictionary form of :class:`RandMissingSection`, whose `count` it takes."""

    array = RandMissingSection
