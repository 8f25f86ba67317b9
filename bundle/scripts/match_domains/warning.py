"""At the start of training: objects of wildly different size in the two domains are told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
from scripts.match_domains.blob import coarse_blobs
from scripts.match_domains.diameter import image_size, shapes_of
from scripts.match_domains.intensity import image_polarity, label_grey, label_polarity

__all__ = ["size_ratio", "warn_of_sizes"]

logger = logging.getLogger(__name__)

Volumes = Sequence[Mapping[str, Any]]


def warn_of_sizes(source: Volumes, target: Volumes, limit: float = 2.0) -> None:
    """Log a warning where objects of X are more than `limit` times as large as those of Y, or as small.

    The first volume of each domain is looked at, in parts, for some seconds; of several processes one does it.

    Args:
        source: dictionaries with `image` and `label`, each (1, Z, Y, X), as training sees them.
        target: dictionaries with `image`.
        limit: ratio that is tolerated.
    """
    if idist.get_rank() > 0:
        return
    first, second = source[0], target[0]
    ratio = size_ratio(*(np.asarray(volume)[0] for volume in (first["image"], first["label"], second["image"])))
    if ratio is None:
        logger.info("cannot tell the size of Y's objects; expected a size like that of X's.")
        return
    for axis, value in zip(("z", "the plane"), ratio, strict=True):
        if max(value, 1 / value) > limit:
            logger.warning(
                "after scale_x and scale_y, objects of X are about %.2f times as large as those of Y along %s; "
                "expected a like size in voxels. `python -m scripts.match_domains` finds the factors.",
                value,
                axis,
            )


def size_ratio(image_x: np.ndarray, label_x: np.ndarray, image_y: np.ndarray) -> np.ndarray | None:
    """Diameter of X's objects over that of Y's, (z, plane), of volumes (Z, Y, X); None where it cannot be told.

    Of two opinions on Y's objects the one nearer to X's counts, so that neither alone makes a warning.
    """
    if not np.any(label_x):
        return None
    shapes = shapes_of(label_x)
    bright_x = label_polarity(label_grey(image_x, label_x))
    blobs = coarse_blobs(image_y)
    bright = image_polarity(*blobs)
    bright = bright if bright is not None else bright_x is not False
    seen = image_size(image_y, shapes, blobs[0 if bright else 1], bright)
    if seen is None or np.isnan(seen.instances).any():
        return None
    ratios = np.stack([shapes.typical / seen.instances, shapes.typical / seen.blobs])
    return ratios[np.abs(np.log(ratios)).argmin(axis=0), [0, 1]]
