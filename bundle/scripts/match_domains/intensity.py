"""Polarity and intensity range of a domain."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from scripts.match_domains.blob import CoarseBlobs
from scripts.match_domains.piece import grey_range, piece_slices

__all__ = ["image_polarity", "intensity_window", "label_grey", "label_polarity"]

Grey = tuple[np.ndarray, np.ndarray]

# Strengths, or deviations, that differ by less than this say nothing.
LEAST_RATIO, LEAST_CONTRAST = 1.1, 0.1
PIECE = (64, 192, 192)
REACH = 6


def label_grey(image: np.ndarray, label: np.ndarray, seed: int = 0) -> Grey:
    """Grey values of an image (Z, Y, X): (N,) in labelled objects and (M,) within six voxels around them."""
    parts = piece_slices(image.shape, PIECE, seed)
    masks = [label[part] > 0 for part in parts]
    rings = [ndi.uniform_filter(mask.astype(np.float32), (3, 2 * REACH + 1, 2 * REACH + 1)) > 1e-6 for mask in masks]
    inside = [image[part][mask] for part, mask in zip(parts, masks, strict=True)]
    around = [image[part][ring & ~mask] for part, mask, ring in zip(parts, masks, rings, strict=True)]
    return np.concatenate(inside), np.concatenate(around)


def label_polarity(grey: Grey) -> bool | None:
    """Whether objects are brighter than what is around them; None where they differ by under a tenth of a deviation."""
    inside, around = (values.astype(np.float64) for values in grey)
    if min(len(inside), len(around)) == 0:
        return None
    spread = np.sqrt((inside.var() + around.var()) / 2)
    contrast = (inside.mean() - around.mean()) / max(spread, 1e-12)
    return None if abs(contrast) < LEAST_CONTRAST else bool(contrast > 0)


def image_polarity(bright: CoarseBlobs, dark: CoarseBlobs) -> bool | None:
    """Whether an image answers more to bright blobs than to dark ones; None within 10 %, and where it is flat."""
    weak, strong = sorted((bright.strength, dark.strength))
    return None if strong <= LEAST_RATIO * weak else bright.strength > dark.strength


def intensity_window(image: np.ndarray, grey: Grey | None) -> tuple[float, float]:
    """Percentiles of an image (Z, Y, X) that become -1 and 1, at most 2 and at least 98.

    All but a hundredth of the objects and of what surrounds them stay within; so the tones of a few objects in a large
    volume are not cut off, and a few very bright specks do not dim the objects.

    Args:
        image: the whole volume.
        grey: values in objects and around them; None gives 0.5 and 99.5.
    """
    if grey is None or min(len(values) for values in grey) == 0:
        return 0.5, 99.5
    ends = [np.percentile(values, (1, 99)) for values in grey]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    step = max(1, round((image.size / 4e6) ** (1 / 3)))
    sample = image[::step, ::step, ::step]
    ranks = 100 * float((sample < low).mean()), 100 * float((sample <= high).mean())
    percentiles = round(min(ranks[0], 2.0), 2), round(max(ranks[1], 98.0), 2)
    first, last = grey_range(image, percentiles)
    return percentiles if last > first else (0.5, 99.5)
