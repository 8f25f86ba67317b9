"""The signed distance to the surface of each instance."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import edt
import numpy as np
from scipy.ndimage import find_objects
from scripts.command.flag import flag
from scripts.component import connected_components
from scripts.errors import InputError
from scripts.representation.binary import widened
from scripts.representation.label import checked_label
from scripts.representation.loss import distance_mse
from torch import Tensor

__all__ = ["SignedDistance"]

_HOLE_VOXELS = 16  # holes with fewer voxels are filled before the distance is taken


class SignedDistance:
    """Distance to the surface of the instance, relative to the instance's own largest: -1 outside, (0, 1] inside.

    Every 26-connected piece of a label is measured by itself, after small holes (under 16 voxels) were filled; the
    border of the crop counts as surface (target ``5-3d-1-0-2.0`` of PyTorch Connectomics, whose target options are
    mode, border, quantised, z spacing, erosion).

    Args:
        spacing: size of a voxel (z, y, x) in any unit; only the ratios matter.
        mse_weight: weight of the mean square error.
        per_section: measure each section by itself: 8-connected pieces, holes under 16 pixels, the y and x of the
            spacing (``5-2d-…``).
        levels: round distances inside down to multiples of 1 / levels, as the reference's quantised target with its
            ten levels does (``5-3d-1-1-…``, index k there is (k - 1) / 10 here); learned by the mean square error all
            the same, where the reference classifies. None: not rounded.
        border: whether the border of the crop counts as surface. A piece that fills the crop keeps it (``5-3d-0-…``).
        erosion: voxels, in Euclidean distance, by which pieces are thinned before they are measured.
    """

    name = "distance"
    channels = 1

    def __init__(
        self,
        spacing: Sequence[float] = (2.0, 1.0, 1.0),
        mse_weight: float = 5.0,
        per_section: bool | str = False,
        levels: int | None = None,
        border: bool | str = True,
        erosion: int = 0,
    ) -> None:
        self.spacing = tuple(float(size) for size in spacing)
        self.mse_weight, self.levels, self.erosion = mse_weight, levels, erosion
        self.per_section, self.border = flag(per_section, "per_section"), flag(border, "border")
        if len(self.spacing) != 3 or min(self.spacing) <= 0:
            raise InputError(f"SignedDistance: found spacing {spacing}, expected three sizes (z, y, x) above 0.")
        if (levels is not None and levels < 2) or erosion < 0:
            found = f"levels {levels} and erosion {erosion}"
            raise InputError(
                f"SignedDistance: found {found}, expected 2 levels or more (or none) and 0 voxels or more."
            )

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (1, Z, Y, X)."""
        label = checked_label(label)
        if not self.per_section:
            return self._measured(label)[None]
        result = np.empty(label.shape, np.float32)
        for z in range(len(label)):
            result[z] = self._measured(label[z : z + 1])[0]
        return result[None]

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (B, 1, Z, Y, X) to a signed distance in [-1, 1]."""
        return logits.tanh()

    def to_unit(self, activated: Tensor) -> Tensor:
        """Signed distance in [-1, 1] to [0, 1]."""
        return (activated + 1) / 2

    def loss(self, logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        """Scalar: mse_weight x mean square error of tanh(logits) to target (B, 1, Z, Y, X).

        `known` (B, 1, Z, Y, X) is 0 where the target does not count.
        """
        return self.mse_weight * distance_mse(logits, target, known)

    def _measured(self, label: np.ndarray) -> np.ndarray:
        """Distances (Z, Y, X), float32, of a label or of one section of it."""
        pieces = connected_components(label)
        result = np.full(label.shape, -1, np.float32)
        whole, pieces = pieces, self._thinned(pieces)
        inside = pieces > 0
        ids = pieces[inside]
        distance = self._to_surface(pieces, inside)
        largest = np.zeros(int(ids.max(initial=0)) + 1)
        np.maximum.at(largest, ids, distance)
        result[inside] = self._rounded(distance / (largest + 1e-6)[ids])
        self._fill_holes(whole, result)
        return result

    def _rounded(self, distance: np.ndarray) -> np.ndarray:
        """Distances in [0, 1], down to the next level where there are levels."""
        if self.levels is None:
            return distance
        return np.digitize(distance, np.arange(1, self.levels) / self.levels) / self.levels

    def _thinned(self, pieces: np.ndarray) -> np.ndarray:
        """Pieces without the voxels that have another piece, or none, within `erosion` voxels."""
        if not self.erosion:
            return pieces
        squares = self._squares(pieces, (1.0, 1.0, 1.0))
        return np.where(squares > self.erosion**2, pieces, 0)

    def _to_surface(self, pieces: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Distance of the voxels inside to the nearest of another piece; roots of exact squares, as SciPy's are."""
        return np.sqrt(self._squares(pieces, self.spacing)[inside], dtype=np.float64)

    def _squares(self, pieces: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
        """Squared distance of all voxels to the nearest of another piece, and to the border if it is a surface."""
        border = self.border or bool((pieces == pieces.flat[0]).all())
        if not self.per_section:
            return edt.edtsq(pieces, anisotropy=spacing, black_border=border, parallel=1)
        return edt.edtsq(pieces[0], anisotropy=spacing[1:], black_border=border, parallel=1)[None]

    def _fill_holes(self, pieces: np.ndarray, result: np.ndarray) -> None:
        """Measure again, in place, the pieces with holes: a filled hole may hold voxels of other pieces."""
        # Around the volume, or the section, lies the outside; without a border there is none, and pockets are holes.
        margin = [(int(self.border and not (axis == 0 and self.per_section)),) * 2 for axis in range(3)]
        suspects = _beside_small_regions(pieces, margin)
        boxes = find_objects(pieces) if suspects else []
        for piece in suspects:
            box = boxes[piece - 1] if self.border else (slice(None),) * 3
            mask = pieces[box] == piece
            filled = _filled(mask, margin)
            if not np.array_equal(mask, filled):
                self._measure_again(mask, filled, result[box])

    def _measure_again(self, mask: np.ndarray, filled: np.ndarray, region: np.ndarray) -> None:
        """Put the distances of a piece with its holes filled in place of those of its own voxels, the mask."""
        pieces = self._thinned(filled.view(np.uint8))
        inside = pieces > 0
        distance = self._to_surface(pieces, inside)
        region[mask] = -1
        region[inside] = np.maximum(region[inside], self._rounded(distance / (distance.max(initial=0) + 1e-6)))


def _filled(mask: np.ndarray, margin: Sequence[tuple[int, int]]) -> np.ndarray:
    """The mask without its small holes (6-connected); what reaches a margin is no hole."""
    outside = cc3d.connected_components(np.pad(~mask, margin, constant_values=True), connectivity=6)
    small = np.bincount(outside.ravel()) < _HOLE_VOXELS
    small[0] = False
    if np.any(margin):
        small[outside.flat[0]] = False
    inner = tuple(slice(before, size - after) for size, (before, after) in zip(outside.shape, margin, strict=True))
    return mask | small[outside][inner]


def _beside_small_regions(pieces: np.ndarray, margin: Sequence[tuple[int, int]]) -> list[int]:
    """Pieces that touch a 6-connected region small enough to lie in a hole; no other piece can have holes."""
    pieces = np.pad(pieces, margin)  # slivers of background at the border belong to the outside
    regions = cc3d.connected_components(pieces.astype(np.uint32) + 1, connectivity=6)
    small = (np.bincount(regions.ravel()) < _HOLE_VOXELS)[regions]
    if not small.any():
        return []
    near = small
    for axis in range(3):
        near = near | widened(small, axis)
    return [int(piece) for piece in np.unique(pieces[near]) if piece > 0]
