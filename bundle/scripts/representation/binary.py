"""Maps of 0 and 1: foreground, contour, affinity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from scripts.errors import InputError
from scripts.losses import dice_from_logits, weighted_bce_with_logits
from scripts.representation.label import checked_label

__all__ = ["Affinity", "Contour", "Foreground", "widened"]

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
        return (checked_label(label) > 0).astype(np.float32)[None]


class Contour(_SigmoidMap):
    """1 on the outlines of instances, half inside and half outside of them.

    The label differs between the two neighbours of a voxel along one of ``axes``; that is two voxels wide, and every
    step of ``dilation`` adds two. By default outlines are drawn in each section by itself, about four voxels wide
    (target ``4-1-1`` of PyTorch Connectomics). The border of the image is no outline.

    Args:
        bce_weight: weight of the class-balanced cross-entropy.
        dice_weight: weight of the Dice loss.
        dilation: voxels by which the outline is widened along each of ``axes``. 0 where nuclei are under a dozen
            voxels across: wider outlines would leave them no inside to seed.
        axes: axes of (Z, Y, X) along which labels are compared; [0, 1, 2] also separates what touches across sections,
            for voxels that are about as deep as wide.
    """

    name = "contour"

    def __init__(
        self,
        bce_weight: float = 1.0,
        dice_weight: float = 0.5,
        dilation: int = 1,
        axes: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__(bce_weight, dice_weight)
        self.dilation, self.axes = int(dilation), tuple(int(axis) for axis in axes)
        if self.dilation < 0 or not self.axes or not set(self.axes) <= {0, 1, 2}:
            message = "expected a dilation of 0 or more and one or more of the axes 0, 1, 2 (z, y, x)."
            raise InputError(f"Contour: found dilation {dilation} and axes {axes}, {message}")

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (1, Z, Y, X)."""
        label = checked_label(label)
        outline = np.logical_or.reduce([_differs_across(label, axis) for axis in self.axes])
        for axis in self.axes * self.dilation:
            outline = widened(outline, axis)
        return outline.astype(np.float32)[None]


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
        label = checked_label(label)
        maps = np.repeat((label > 0).astype(np.float32)[None], self.channels, axis=0)
        for plane, offset in zip(maps, self.offsets, strict=True):
            here = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, label.shape, strict=True))
            there = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, label.shape, strict=True))
            if all(abs(d) < n for d, n in zip(offset, label.shape, strict=True)):
                plane[here] *= label[here] == label[there]
        return maps


def _differs_across(label: np.ndarray, axis: int) -> np.ndarray:
    """Where the neighbours before and after a voxel differ; at the border the voxel stands in for the missing one."""
    padded = np.moveaxis(np.pad(label, [(int(a == axis),) * 2 for a in range(3)], mode="edge"), axis, 0)
    return np.moveaxis(padded[2:] != padded[:-2], 0, axis)


def widened(mask: np.ndarray, axis: int) -> np.ndarray:
    """The mask dilated by one voxel both ways along one axis."""
    wide = mask.copy()
    out, source = np.moveaxis(wide, axis, 0), np.moveaxis(mask, axis, 0)
    out[1:] |= source[:-1]
    out[:-1] |= source[1:]
    return wide
