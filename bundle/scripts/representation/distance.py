"""The signed distance to the surface of each instance."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import edt
import numpy as np
from scipy.ndimage import find_objects
from torch import Tensor

from scripts.errors import InputError
from scripts.losses import distance_mse
from scripts.representation.binary import widened
from scripts.representation.label import checked_label

__all__ = ["SignedDistance"]

_HOLE_VOXELS = 16  # holes with fewer voxels are filled before the distance is taken


class SignedDistance:
    """Distance to the surface of the instance, relative to the instance's own largest: -1 outside, (0, 1] inside.

    Every 26-connected piece of a label is measured by itself, after small holes (under 16 voxels) were filled; the
    border of the crop counts as surface (target ``5-3d-1-0-2.0`` of PyTorch Connectomics).

    Args:
        spacing: size of a voxel (z, y, x) in any unit; only the ratios matter.
        mse_weight: weight of the mean square error.
    """

    name = "distance"
    channels = 1

    def __init__(self, spacing: Sequence[float] = (2.0, 1.0, 1.0), mse_weight: float = 5.0) -> None:
        self.spacing = tuple(float(size) for size in spacing)
        self.mse_weight = mse_weight
        if len(self.spacing) != 3 or min(self.spacing) <= 0:
            raise InputError(f"SignedDistance: found spacing {spacing}, expected three sizes (z, y, x) above 0.")

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (1, Z, Y, X)."""
        pieces = cc3d.connected_components(checked_label(label), connectivity=26)
        inside = pieces > 0
        ids = pieces[inside]
        distance = self._to_surface(pieces, inside)
        largest = np.zeros(int(ids.max(initial=0)) + 1)
        np.maximum.at(largest, ids, distance)
        result = np.full(label.shape, -1, np.float32)
        result[inside] = distance / (largest + 1e-6)[ids]
        self._fill_holes(pieces, result)
        return result[None]

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (B, 1, Z, Y, X) to a signed distance in [-1, 1]."""
        return logits.tanh()

    def to_unit(self, activated: Tensor) -> Tensor:
        """Signed distance in [-1, 1] to [0, 1]."""
        return (activated + 1) / 2

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar: mse_weight x mean square error of tanh(logits) to target (B, 1, Z, Y, X)."""
        return self.mse_weight * distance_mse(logits, target)

    def _to_surface(self, pieces: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Distance of the voxels inside to the nearest of another piece; roots of exact squares, as SciPy's are."""
        squares = edt.edtsq(pieces, anisotropy=self.spacing, black_border=True, parallel=1)
        return np.sqrt(squares[inside], dtype=np.float64)

    def _fill_holes(self, pieces: np.ndarray, result: np.ndarray) -> None:
        """Measure again, in place, the pieces with holes: a filled hole may hold voxels of other pieces."""
        suspects = _beside_small_regions(pieces)
        boxes = find_objects(pieces) if suspects else []
        for piece in suspects:
            box = boxes[piece - 1]
            mask = pieces[box] == piece
            filled = _filled(mask)
            if not np.array_equal(mask, filled):
                distance = self._to_surface(filled.view(np.uint8), filled)
                region = result[box]
                region[mask] = -1
                region[filled] = np.maximum(region[filled], distance / (distance.max() + 1e-6))


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask without its small holes (6-connected); what reaches the border of the box is no hole."""
    outside = cc3d.connected_components(np.pad(~mask, 1, constant_values=True), connectivity=6)
    small = np.bincount(outside.ravel()) < _HOLE_VOXELS
    small[0] = False
    return mask | small[outside][1:-1, 1:-1, 1:-1]


def _beside_small_regions(pieces: np.ndarray) -> list[int]:
    """Pieces that touch a 6-connected region small enough to lie in a hole; no other piece can have holes."""
    pieces = np.pad(pieces, 1)  # slivers of background at the border belong to the outside
    regions = cc3d.connected_components(pieces.astype(np.uint32) + 1, connectivity=6)
    small = (np.bincount(regions.ravel()) < _HOLE_VOXELS)[regions]
    if not small.any():
        return []
    near = small
    for axis in range(3):
        near = near | widened(small, axis)
    return [int(piece) for piece in np.unique(pieces[near]) if piece > 0]
