"""Target maps: how an instance label becomes maps to learn, and how logits become maps again.

A map knows its channels, ``encode(label)``, ``activate(logits)``, ``to_unit(activated)`` and ``loss(logits, target)``;
:class:`Representation` stacks maps and is the one place that knows how many channels there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import edt
import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import Tensor

from scripts.errors import InputError
from scripts.losses import dice_from_logits, distance_mse, weighted_bce_with_logits

__all__ = ["Affinity", "Contour", "Foreground", "Representation", "SignedDistance"]

_HOLE_VOXELS = 16  # holes with fewer voxels are filled before the distance is taken
_NEIGHBOURS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


class _SigmoidMap:
    """What the binary maps share: sigmoid, and weighted BCE plus Dice as the loss."""

    name = ""
    channels = 1

    def __init__(self, bce_weight: float = 1.0, dice_weight: float = 0.5) -> None:
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (B, C, Z, Y, X) to probabilities."""
        return logits.sigmoid()

    def to_unit(self, activated: Tensor) -> Tensor:
        """Probabilities are in [0, 1] already."""
        return activated

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar: bce_weight x weighted BCE + dice_weight x Dice, of logits and target (B, C, Z, Y, X)."""
        bce = weighted_bce_with_logits(logits, target)
        return self.bce_weight * bce + self.dice_weight * dice_from_logits(logits, target)


class Foreground(_SigmoidMap):
    """1 inside any instance.

    Args:
        bce_weight: weight of the class-balanced cross-entropy.
        dice_weight: weight of the Dice loss.
    """

    name = "foreground"

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (1, Z, Y, X)."""
        return (_checked(label) > 0).astype(np.float32)[None]


class Contour(_SigmoidMap):
    """1 on the outlines of instances, drawn in each section by itself.

    The label differs between the two in-plane neighbours along y or x, dilated by a 3 x 3 square: about four voxels
    wide, half inside and half outside. The border of the image is no outline, and there are none between sections
    (target ``4-1-1`` of PyTorch Connectomics).

    Args:
        bce_weight: weight of the class-balanced cross-entropy.
        dice_weight: weight of the Dice loss.
    """

    name = "contour"

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (1, Z, Y, X)."""
        label = _checked(label)
        edge = _differs_across(label, 1) | _differs_across(label, 2)
        return _widened(_widened(edge, 1), 2).astype(np.float32)[None]


class Affinity(_SigmoidMap):
    """1 where a voxel and the one at an offset from it carry the same instance; one channel for each offset.

    Where the other voxel lies outside the volume the channel tells foreground (target ``2`` of PyTorch Connectomics).

    Args:
        offsets: (z, y, x) steps to the other voxel; the default is the predecessor along each axis.
        bce_weight: weight of the class-balanced cross-entropy.
        dice_weight: weight of the Dice loss.
    """

    name = "affinity"

    def __init__(
        self, offsets: Sequence[Sequence[int]] = _NEIGHBOURS, bce_weight: float = 1.0, dice_weight: float = 0.5
    ) -> None:
        super().__init__(bce_weight, dice_weight)
        self.offsets = [tuple(int(step) for step in offset) for offset in offsets]
        if not self.offsets or any(len(offset) != 3 for offset in self.offsets):
            raise InputError(f"Affinity: found offsets {offsets}, expected one or more (z, y, x) steps.")
        self.channels = len(self.offsets)

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (C, Z, Y, X), C the number of offsets."""
        label = _checked(label)
        maps = np.repeat((label > 0).astype(np.float32)[None], self.channels, axis=0)
        for plane, offset in zip(maps, self.offsets, strict=True):
            here = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, label.shape, strict=True))
            there = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, label.shape, strict=True))
            if all(abs(d) < n for d, n in zip(offset, label.shape, strict=True)):
                plane[here] *= label[here] == label[there]
        return maps


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
        pieces = cc3d.connected_components(_checked(label), connectivity=26)
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


class Representation:
    """Several maps, stacked along the channels in the order given.

    Args:
        maps: objects such as :class:`Foreground`; at least one.
    """

    def __init__(self, maps: Sequence[Any]) -> None:
        if not maps:
            raise InputError("Representation: found no maps, expected at least one, for example Foreground.")
        self.maps = list(maps)
        self.names = [one.name for one in self.maps]
        self.sizes = [int(one.channels) for one in self.maps]
        self.channels = sum(self.sizes)

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (C, Z, Y, X), C = ``channels``."""
        return np.concatenate([one.encode(label) for one in self.maps])

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (B, C, Z, Y, X) to maps, each in its own range."""
        return torch.cat([one.activate(part) for one, part in self._parts(logits)], dim=1)

    def to_unit(self, activated: Tensor) -> Tensor:
        """Activated maps (B, C, Z, Y, X) to [0, 1]."""
        return torch.cat([one.to_unit(part) for one, part in self._parts(activated)], dim=1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar: the sum of the maps' losses, of logits and target (B, C, Z, Y, X)."""
        pairs = zip(self._parts(logits), self._parts(target), strict=True)
        return torch.stack([one.loss(part, truth) for (one, part), (_, truth) in pairs]).sum()

    def _parts(self, stacked: Tensor) -> list[tuple[Any, Tensor]]:
        """Each map with its channels of (B, C, Z, Y, X)."""
        if stacked.shape[1] != self.channels:
            message = f"Representation {self.names}: found {stacked.shape[1]} channels, expected {self.channels}."
            raise InputError(f"{message} Give the network 1 + {self.channels} output channels.")
        return list(zip(self.maps, stacked.split(self.sizes, dim=1), strict=True))


def _checked(label: np.ndarray) -> np.ndarray:
    """The label, if it is a volume of whole numbers from 0 on."""
    label = np.asarray(label)
    if label.ndim != 3 or label.dtype.kind not in "iu" or (label.size and label.min() < 0):
        found = f"shape {label.shape}, {label.dtype}"
        raise InputError(f"label: found {found}, expected whole numbers from 0 on, in (Z, Y, X).")
    return label


def _differs_across(label: np.ndarray, axis: int) -> np.ndarray:
    """Where the neighbours before and after a voxel differ; at the border the voxel stands in for the missing one."""
    padded = np.moveaxis(np.pad(label, [(int(a == axis),) * 2 for a in range(3)], mode="edge"), axis, 0)
    return np.moveaxis(padded[2:] != padded[:-2], 0, axis)


def _widened(mask: np.ndarray, axis: int) -> np.ndarray:
    """The mask dilated by one voxel both ways along one axis."""
    wide = mask.copy()
    out, source = np.moveaxis(wide, axis, 0), np.moveaxis(mask, axis, 0)
    out[1:] |= source[:-1]
    out[:-1] |= source[1:]
    return wide


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
        near = near | _widened(small, axis)
    return [int(piece) for piece in np.unique(pieces[near]) if piece > 0]
