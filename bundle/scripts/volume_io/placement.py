"""Where volumes lie in the world, and how a label is brought to the grid of its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from nibabel.orientations import aff2axcodes, apply_orientation, io_orientation
from scripts.errors import InputError
from scripts.volume_io.unit import warn_once

__all__ = ["Place", "Turn", "turn_to"]

# Programs round voxel sizes, and calculate origins in single precision.
SIZE_TOLERANCE = 0.03
VOXEL_TOLERANCE = 0.25
REVERSED = [2, 1, 0]


class Place(NamedTuple):
    """What a file says of a volume's grid.

    Attributes:
        name: the file, for messages.
        shape: (Z, Y, X).
        voxel_size: (z, y, x) in micrometres, None where the file does not say.
        affine: (4, 4), index (z, y, x) -> position (x, y, z), where the file states direction and origin; else None.
    """

    name: str
    shape: tuple[int, ...]
    voxel_size: tuple[float, float, float] | None = None
    affine: np.ndarray | None = None


class Turn(NamedTuple):
    """Flips and an order of axes that bring a label to its image's grid.

    Attributes:
        orientation: as `nibabel.orientations` has it: for each axis of the label the image's axis, and 1 or -1.
    """

    orientation: tuple[tuple[int, int], ...] = ((0, 1), (1, 1), (2, 1))

    @property
    def moves(self) -> bool:
        """Whether anything changes."""
        return self != Turn()

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the image's (Z, Y, X) for the label's."""
        return tuple(shape[label_axis] for label_axis, _ in self.sources())

    def sources(self) -> list[tuple[int, int]]:
        """Return for each axis of the image the label's axis, and 1 or -1."""
        axes = [axis for axis, _ in self.orientation]
        return [(axes.index(axis), self.orientation[axes.index(axis)][1]) for axis in range(3)]

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Return a view (Z, Y, X) of the label on the image's grid."""
        return np.asarray(apply_orientation(array, np.array(self.orientation)))


def turn_to(image: Place, label: Place) -> Turn:
    """Return what brings a label to the grid of its image.

    Where both files state direction and origin, these decide. Otherwise nothing is known but the shapes and the voxel
    sizes, which have to agree.

    Raises:
        InputError: no flip or turn by a quarter leads from one grid to the other, the shapes differ, or the voxel
            sizes differ by more than 3 %.
    """
    if sorted(image.shape) != sorted(label.shape):
        _check_shape(image, label)
    if image.affine is None or label.affine is None:
        _check_shape(image, label)
        _check_size(image, label)
        return Turn()
    for factor in _factors(image, label):
        if (turn := _turn(image, label, factor)) is not None:
            return turn
    raise InputError(
        f"{label.name}: lies elsewhere than its image. Found {_told(label)}; its image {image.name} has "
        f"{_told(image)}. Expected the same grid, or one that flips and turns by 90 degrees make the same. "
        "Resample the label to the image's grid, or copy the image's affine where the label's header is wrong."
    )


def _factors(image: Place, label: Place) -> list[float]:
    """Units of the label's affine in units of the image's: as stated, and 1, since programs lose or change the unit."""
    units = [
        float(place.voxel_size[0] / np.linalg.norm(place.affine[:3, 0]))
        for place in (image, label)
        if place.voxel_size is not None and place.affine is not None
    ]
    return [1.0, units[1] / units[0]] if len(units) == 2 else [1.0]


def _turn(image: Place, label: Place, factor: float) -> Turn | None:
    """Return the turn if it leads from grid to grid, the label's affine being in units of `factor`."""
    assert image.affine is not None and label.affine is not None
    scaled = np.diag([factor, factor, factor, 1.0]) @ label.affine
    between = np.linalg.inv(image.affine) @ scaled  # index in the label -> index in the image
    found = io_orientation(between)
    if np.isnan(found).any():
        return None
    turn = Turn(tuple((int(axis), int(sign)) for axis, sign in found))
    linear = between[:3, :3]
    ideal = np.zeros((3, 3))
    for axis, (image_axis, sign) in enumerate(turn.orientation):
        ideal[image_axis, axis] = sign
    slanted = np.abs(np.where(ideal == 0, linear, 0)) * label.shape
    if slanted.max() > 2 * VOXEL_TOLERANCE or np.abs(np.where(ideal != 0, linear - ideal, 0)).max() > SIZE_TOLERANCE:
        return None
    if turn.shape(label.shape) != image.shape:
        return None
    return turn if _least_shift(between, ideal, label.shape) <= VOXEL_TOLERANCE else None


def _least_shift(between: np.ndarray, ideal: np.ndarray, shape: Sequence[int]) -> float:
    """Return how far, in voxels of the image, the corner lies that fits best; rounded sizes move the others."""
    ends = np.array(shape) - 1
    corners = np.array(list(np.ndindex(2, 2, 2))) * ends
    start = np.where(ideal.sum(axis=1) < 0, np.abs(ideal) @ ends, 0)
    shifts = corners @ between[:3, :3].T + between[:3, 3] - (corners @ ideal.T + start)
    return float(np.abs(shifts).max(axis=1).min())


def _check_shape(image: Place, label: Place) -> None:
    if tuple(label.shape) != tuple(image.shape):
        raise InputError(
            f"{label.name}: shape {tuple(label.shape)} (z, y, x), but its image {image.name} has {tuple(image.shape)}; "
            "expected the same. Check that they belong together, and that none was cropped or resized."
        )


def _check_size(image: Place, label: Place) -> None:
    if image.voxel_size is None or label.voxel_size is None:
        return
    ratios = np.array(label.voxel_size) / np.array(image.voxel_size)
    if np.abs(ratios - 1).max() <= SIZE_TOLERANCE:
        return
    found = f"voxels of {_sizes(label.voxel_size)} µm (z, y, x), but its image {image.name} has "
    found += f"{_sizes(image.voxel_size)} µm"
    if (1, 1, 1) in (label.voxel_size, image.voxel_size):  # what many programs write where they know nothing
        warn_once(f"{label.name}: {found}. 1 x 1 x 1 often means unknown, so it is not compared.")
        return
    raise InputError(
        f"{label.name}: {found}; expected the same within {SIZE_TOLERANCE:.0%}. Check that they belong together, and "
        "correct the voxel size that is wrong."
    )


def _told(place: Place) -> str:
    """An affine in words, with axes in the order x, y, z, as programs for NIfTI show them."""
    assert place.affine is not None
    affine = place.affine[:, [*REVERSED, 3]]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / sizes
    axes = "".join(code or "?" for code in aff2axcodes(affine))
    angle = np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0).min(), 0, 1)))
    slant = f" (turned by {angle:.1f} degrees)" if angle > 0.1 else ""
    shape = " x ".join(str(place.shape[axis]) for axis in REVERSED)
    origin = ", ".join(f"{value:.4g}" for value in affine[:3, 3])
    return f"{shape} voxels (x, y, z) of {_sizes(sizes)}, axes {axes}{slant}, origin ({origin})"


def _sizes(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
