"""Maps of 0 and 1: foreground, contour, affinity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from scripts.command.flag import flag
from scripts.errors import InputError
from scripts.representation.label import checked_label
from scripts.representation.loss import dice_from_logits, weighted_bce_with_logits
from torch import Tensor

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

    def loss(self, logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        """Scalar: bce_weight x weighted BCE + dice_weight x Dice, of logits and target (B, C, Z, Y, X).

        `known` (B, 1, Z, Y, X) is 0 where the target does not count.
        """
        bce = weighted_bce_with_logits(logits, target, known)
        return self.bce_weight * bce + self.dice_weight * dice_from_logits(logits, target, known=known)


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
        background: whether instances are outlined against the background too. Where not, the outline is every voxel
            with two instances within ``dilation`` voxels along ``axes``, which must then be 1 or more (target
            ``4-1-0``).
    """

    name = "contour"

    def __init__(
        self,
        bce_weight: float = 1.0,
        dice_weight: float = 0.5,
        dilation: int = 1,
        axes: Sequence[int] = (1, 2),
        background: bool | str = True,
    ) -> None:
        super().__init__(bce_weight, dice_weight)
        self.dilation, self.axes = int(dilation), tuple(int(axis) for axis in axes)
        self.background = flag(background, "background")
        least = 0 if self.background else 1
        if self.dilation < least or not self.axes or not set(self.axes) <= {0, 1, 2}:
            message = f"expected a dilation of {least} or more and one or more of the axes 0, 1, 2 (z, y, x)."
            raise InputError(f"Contour: found dilation {dilation} and axes {axes}, {message}")

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (1, Z, Y, X)."""
        label = checked_label(label)
        if not self.background:
            return self._between_instances(label).astype(np.float32)[None]
        outline = np.logical_or.reduce([_differs_across(label, axis) for axis in self.axes])
        for axis in self.axes * self.dilation:
            outline = widened(outline, axis)
        return outline.astype(np.float32)[None]

    def _between_instances(self, label: np.ndarray) -> np.ndarray:
        """Where the lowest and the highest id around a voxel differ, background left out."""
        size = [1 + 2 * self.dilation * (axis in self.axes) for axis in range(3)]
        beyond = np.iinfo(label.dtype).max
        highest = maximum_filter(label, size, mode="nearest")
        lowest = minimum_filter(np.where(label > 0, label, beyond), size, mode="nearest")
        return (highest > 0) & (lowest != highest)


class Affinity(_SigmoidMap):
    """1 where a voxel and the one at an offset from it carry the same instance; one channel for each offset.

    Where the other voxel lies outside the volume, the nearest one inside stands in for it, so that the first plane
    along each axis tells foreground by default (targets ``2`` and ``2-z-y-x-v1`` of PyTorch Connectomics).

    Args:
        offsets: (z, y, x) steps to the other voxel; the default is the predecessor along each axis. Longer ones, such
            as (0, -3, 0), may follow: they part instances that touch more widely, and have to stay under half an
            instance.
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
            other = label
            for axis, (step, size) in enumerate(zip(offset, label.shape, strict=True)):
                if step:
                    other = other.take(np.arange(step, step + size).clip(0, size - 1), axis)
            plane *= label == other
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
