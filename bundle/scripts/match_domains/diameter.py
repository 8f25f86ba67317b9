"""Typical diameters of the objects: from labels, and from an image that has none.

The image is measured with the same rulers as the labels of the other domain, so that what a ruler gets wrong for
objects of that shape cancels: blobs in scale space give a first size, with it the classical recipe finds single
objects, whose extents are measured as those of labels are. All lengths are voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import fastremap
import numpy as np
from scipy.stats import trim_mean
from scripts.classical import classical_foreground, classical_instances
from scripts.match_domains.blob import CoarseBlobs, refined_widths
from scripts.match_domains.piece import grey_range, normalised, piece_slices, shrunk

__all__ = ["ImageSize", "Shapes", "image_size", "label_diameters", "shapes_of"]

# Objects are looked at about this many voxels wide: more would cost time and tell nothing.
WORKING_DIAMETER = 14.0
WORKING_PIECE = (96, 192, 192)
TRIMMED = 0.1
FEWEST, ENOUGH = 8, 300
DISAGREEMENT = 1.25


@dataclass(frozen=True)
class Shapes:
    """Labelled objects as rulers.

    Attributes:
        diameters: (z, y, x).
        per_blob: diameter for each unit of blob width, (z, plane).
        per_instance: diameter for each unit of what the classical recipe measures on their mask, (z, plane).
        count: objects measured.
    """

    diameters: tuple[float, float, float]
    per_blob: np.ndarray
    per_instance: np.ndarray
    count: int

    @property
    def typical(self) -> np.ndarray:
        """Diameters (z, plane)."""
        return _in_plane(np.array(self.diameters))


@dataclass(frozen=True)
class ImageSize:
    """What an image says about the size of its objects.

    Attributes:
        instances: diameters (z, plane) of single objects, the estimate.
        blobs: diameters (z, plane) from scale space alone, the second opinion.
        count: objects measured.
        inside: about the share 0..1 of voxels in objects.
        grey: (N,) grey values of voxels in objects, then (M,) of the others, of the parts looked at.
    """

    instances: np.ndarray
    blobs: np.ndarray
    count: int
    inside: float
    grey: tuple[np.ndarray, np.ndarray]

    @property
    def clear(self) -> np.ndarray:
        """Whether the size is known, (z, plane): enough objects, and two opinions that differ by less than 25 %."""
        with np.errstate(invalid="ignore"):
            apart = np.maximum(self.instances / self.blobs, self.blobs / self.instances)
        return (apart < DISAGREEMENT) & (self.count >= FEWEST)

    @property
    def between(self) -> np.ndarray:
        """Diameters (z, plane) between the two opinions: their geometric mean."""
        return np.sqrt(self.instances * self.blobs)

    def differs(self, diameters: Sequence[float]) -> np.ndarray:
        """Whether both opinions say that objects are far larger than others, or both far smaller, (z, plane).

        Far is more than 25 %. Opinions of which one is twice the other say nothing.

        Args:
            diameters: of the others, (z, y, x).
        """
        with np.errstate(invalid="ignore"):
            ratios = np.stack([self.instances, self.blobs]) / _in_plane(np.array(diameters))
            far = (ratios > DISAGREEMENT).all(0) | (ratios < 1 / DISAGREEMENT).all(0)
            alike = ratios.max(0) < 2 * ratios.min(0)
        return far & alike & (self.count >= FEWEST)


def label_diameters(label: np.ndarray) -> tuple[np.ndarray, int]:
    """Typical diameters (3,) along z, y and x, and the number of objects they come from.

    An object's diameter is 2 √5 deviations of its voxels, exact for an ellipsoid; of all that do not touch the border
    (of all, where every one does) the mean is taken without the tenth at each end. Memory: a few planes.

    Args:
        label: instances (Z, Y, X), 0 is background.
    """
    ids = fastremap.unique(label)
    ids = ids[ids > 0]
    if len(ids) == 0:
        return np.full(3, np.nan), 0
    inside, extents = _extents(label, ids)
    chosen = extents[inside] if inside.any() else extents
    return trim_mean(chosen, TRIMMED, axis=0), len(chosen)


def shapes_of(label: np.ndarray, seed: int = 0) -> Shapes:
    """Make rulers of the objects of a label (Z, Y, X), which needs at least one.

    Memory: about 40 bytes per voxel of parts of at most 3 x 3.5 million voxels.
    """
    diameters, count = label_diameters(label)
    typical = _in_plane(diameters)
    masks, factors = _working_parts(label > 0, typical, seed)
    masks = [(mask > 0.5).astype(np.float32) for mask in masks]
    widths = refined_widths(masks, typical * factors / 3.3)
    per_blob = np.array([3.3, 3.3]) if widths is None else typical * factors / widths
    found, number = _instance_diameters(masks, typical * factors)
    per_instance = typical * factors / found if number >= FEWEST else np.ones(2)
    z, y, x = (float(diameter) for diameter in diameters)
    return Shapes((z, y, x), per_blob, per_instance, count)


def image_size(
    image: np.ndarray, shapes: Shapes, start: CoarseBlobs, bright: bool = True, seed: int = 0
) -> ImageSize | None:
    """Measure the objects of an image (Z, Y, X) without labels; pixels are taken as square in the plane.

    Memory: about 40 bytes per voxel of parts of at most 3 x 3.5 million voxels, beside the image.

    Args:
        image: of any numeric type.
        shapes: the labelled objects of the other domain, of another size.
        start: the widths to start from, those of bright or of dark blobs.
        bright: whether objects are brighter than what surrounds them.
        seed: of the places of the parts.

    Returns:
        None where nothing of a size stands out.
    """
    low, high = grey_range(image)
    if low == high:
        return None
    diameters = start.widths * shapes.per_blob
    for _ in range(3):
        parts, factors = _working_parts(image, diameters, seed)
        scaled = [_upright(part, (low, high), bright) for part in parts]
        masks = [_foreground(part, diameters * factors) for part in scaled]
        widths = refined_widths([mask.astype(np.float32) for mask in masks], diameters * factors / shapes.per_blob)
        if widths is None:
            return None
        diameters = widths * shapes.per_blob / factors
    found, count = _instance_diameters(scaled, diameters * factors)
    objects = np.concatenate([part[mask] for part, mask in zip(parts, masks, strict=True)])
    others = np.concatenate([part[~mask] for part, mask in zip(parts, masks, strict=True)])
    share = len(objects) / (len(objects) + len(others))
    return ImageSize(found * shapes.per_instance / factors, diameters, count, share, (objects, others))


def _extents(label: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each id, whether it stays off the border (N,), and its diameters (N, 3)."""
    sums, squares, voxels = np.zeros((3, len(ids))), np.zeros((3, len(ids))), np.zeros(len(ids))
    border = np.zeros(len(ids), bool)
    for z, plane in enumerate(label):
        y, x = np.nonzero(plane)
        which = np.searchsorted(ids, plane[y, x])
        if z in (0, len(label) - 1):
            border[which] = True
        border[which[(y == 0) | (x == 0) | (y == plane.shape[0] - 1) | (x == plane.shape[1] - 1)]] = True
        voxels += np.bincount(which, minlength=len(ids))
        for axis, place in enumerate((np.full(len(y), z), y, x)):
            sums[axis] += np.bincount(which, place, len(ids))
            squares[axis] += np.bincount(which, place.astype(float) ** 2, len(ids))
    variance = np.maximum(squares / voxels - (sums / voxels) ** 2, 0) + 1 / 12  # a voxel is no point
    return ~border, 2 * np.sqrt(5 * variance).T


def _in_plane(diameters: np.ndarray) -> np.ndarray:
    """Diameters (z, y, x) as (z, plane)."""
    return np.array([diameters[0], (diameters[1] + diameters[2]) / 2])


def _working_parts(volume: np.ndarray, diameters: np.ndarray, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Parts float32 in which objects are at most `WORKING_DIAMETER` wide, and the factors (z, plane) of that."""
    wanted = np.minimum(1, WORKING_DIAMETER / diameters)[[0, 1, 1]].tolist()
    size = [int(np.ceil(side / factor)) for side, factor in zip(WORKING_PIECE, wanted, strict=True)]
    made = [shrunk(volume[part], wanted) for part in piece_slices(volume.shape, size, seed)]
    return [part for part, _ in made], _in_plane(made[0][1])


def _upright(part: np.ndarray, window: Sequence[float], bright: bool) -> np.ndarray:
    grey = normalised(part, window)
    return grey if bright else 1 - grey


def _lengths(diameters: np.ndarray) -> tuple[float, tuple[float, float, float]]:
    """The diameter in voxels of the finest axis, and the spacing (z, y, x) that makes objects round."""
    widest = float(diameters.max())
    z, plane = (widest / diameters).tolist()
    return widest, (z, plane, plane)


def _recipe(widest: float) -> dict[str, float]:
    """The lengths of the classical recipe in terms of the objects; the smoothing is what splits fewest of them."""
    return {"smoothing": 0.075 * widest, "background": widest, "opening": 0.1 * widest}


def _foreground(part: np.ndarray, diameters: np.ndarray) -> np.ndarray:
    """Mask of objects of about these diameters (z, plane)."""
    widest, spacing = _lengths(diameters)
    return classical_foreground(part, spacing, **_recipe(widest))


def _instance_diameters(parts: Sequence[np.ndarray], diameters: np.ndarray) -> tuple[np.ndarray, int]:
    """Diameters (z, plane) of single objects that are about as large as said, and their number."""
    widest, spacing = _lengths(diameters)
    smallest = max(8, int(0.05 * np.pi / 6 * diameters[0] * diameters[1] ** 2))
    extents = []
    for part in parts:
        instances = classical_instances(
            part,
            spacing,
            **_recipe(widest),
            seed_smoothing=0.1 * widest,
            seed_distance=0.3 * widest,
            min_instance_size=smallest,
        )
        ids = fastremap.unique(instances)
        inside, found = _extents(instances, ids[ids > 0])
        extents.append(found[inside])
        if sum(map(len, extents)) >= ENOUGH:
            break
    every = np.concatenate(extents)
    return (_in_plane(trim_mean(every, TRIMMED, axis=0)) if len(every) else np.full(2, np.nan)), len(every)
