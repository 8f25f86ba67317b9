"""Objects that were probably lost: they stand out in an image, or appear under perturbations, without an instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import fastremap
import numpy as np
from scipy import ndimage as ndi
from scripts.classical import opened
from scripts.component import connected_components
from scripts.judge.evidence import Surroundings

__all__ = ["Place", "Search", "share_within"]

THICK = 0.25
"""Radius, as a share of an object's diameter, of the ball that a lost object holds: rims of instances are thinner."""
SMALL = 0.15
"""Least size of a lost object, as a share of the typical one."""
APART = 0.8
"""Share of an object found under a perturbation that lies outside all instances, so that it is another object."""
CONTRAST = 0.1
"""Least difference between what stands out in a part of an image and the rest, as a share of the whole's grey range:
where there is no object, a threshold parts noise."""


class Place(NamedTuple):
    """An object that was probably lost.

    Attributes:
        position: (z, y, x) of the voxel deepest in it.
        voxels: its size.
        share: of the perturbations under which it is found.
        evidence: share of it that stands out in the image; NaN where nothing is known of that.
    """

    position: tuple[int, int, int]
    voxels: int
    share: float
    evidence: float


class Search:
    """The search for lost objects in a part of a volume.

    Memory: about 60 bytes per voxel while it is made, then 3, and 12 for `places`.

    Args:
        labels: instances (z, y, x), 0 for background.
        seen: the image there.

    Attributes:
        outstanding: mask (z, y, x) of what stands out in the image; None where it is not known what objects look like.
        missed: mask of what stands out, is thick enough for an object, and belongs to no instance.
    """

    def __init__(self, labels: np.ndarray, seen: Surroundings) -> None:
        self.free = labels == 0
        self.outstanding = None if seen.bright is None else _outstanding(seen)
        self.missed = np.zeros(labels.shape, bool)
        if self.outstanding is not None:
            alone = self.outstanding & self.free
            self.missed = opened(alone, THICK * max(seen.diameters), seen.spacing) & self.free
        self._votes, self._asked = np.zeros(labels.shape, np.uint8), 0
        z, plane = seen.diameters
        self._typical = np.pi / 6 * z * plane**2

    def evidence(self, labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return the share of each instance that stands out in the image; NaN where that is not known."""
        if self.outstanding is None:
            return np.full(len(ids), np.nan)
        return share_within(labels, self.outstanding, ids)

    def ask(self, other: np.ndarray) -> None:
        """Take in the instances (z, y, x) under a perturbation."""
        ids = fastremap.unique(other)
        ids = ids[ids > 0]
        lost = ids[share_within(other, self.free, ids) > APART]
        self._votes += np.isin(other, lost)
        self._asked += 1

    def places(self, typical: float | None = None) -> list[Place]:
        """Return the lost objects.

        Args:
            typical: size of an object in voxels; None: by its diameters in the image.
        """
        parts = connected_components(self.missed | (2 * self._votes > self._asked), 6)
        sizes = np.bincount(parts.ravel())
        boxes = ndi.find_objects(parts.view(np.int32))
        large = np.flatnonzero(sizes >= max(1, SMALL * (typical or self._typical)))
        return [self._place(boxes[i - 1], parts[boxes[i - 1]] == i) for i in large.tolist() if i]

    def _place(self, box: Sequence[slice], mask: np.ndarray) -> Place:
        deep = ndi.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
        inside = np.unravel_index(int(deep.argmax()), mask.shape)
        z, y, x = (int(at) + side.start for at, side in zip(inside, box, strict=True))
        share = float(self._votes[tuple(box)][mask].max()) / max(1, self._asked)
        known = self.outstanding is not None
        evidence = float(self.outstanding[tuple(box)][mask].mean()) if known else np.nan  # type: ignore[index]
        return Place((z, y, x), int(np.count_nonzero(mask)), share, evidence)


def share_within(labels: np.ndarray, mask: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the share of each of the instances `ids`, ascending, that lies within a mask; NaN for those not there."""
    counts = []
    for part in (labels[mask], labels):
        found, voxels = fastremap.unique(part, return_counts=True)
        place = np.minimum(np.searchsorted(found, ids), max(0, len(found) - 1))
        counts.append(np.where(found[place] == ids, voxels[place], 0) if len(found) else np.zeros(len(ids)))
    inside, whole = counts
    return np.where(whole > 0, inside / np.maximum(whole, 1), np.nan)


def _outstanding(seen: Surroundings) -> np.ndarray:
    mask = seen.outstanding
    is_object = mask.any() and not mask.all() and seen.crop[mask].mean() - seen.crop[~mask].mean() >= CONTRAST
    return mask if is_object else np.zeros_like(mask)
