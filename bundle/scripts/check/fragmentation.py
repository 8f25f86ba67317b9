"""How broken up the ids of a label are: an image or a mask of classes given as a label shows by it."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, TypeAlias

import fastremap
import numpy as np
from scripts.component import connected_components
from scripts.errors import InputError

__all__ = ["Fragmentation", "check_fragmentation", "fragmentation"]

Cut: TypeAlias = Any
"""Anything with a `shape` that slices cut: an array or an open volume."""

logger = logging.getLogger(__name__)

PLANES, SIDE = 7, 1024
# Of labels of nuclei, whole volumes filled by objects of five voxels among them, pieces were at most 1.3 and changes
# 0.37; of images pieces were 15 and more, changes 0.4 and more, 0.9 unless they were smoothed or had few grey levels.
SURE_PIECES, DOUBTFUL_PIECES = 12.0, 4.0
SURE_CHANGES, DOUBTFUL_CHANGES = 0.75, 0.5
FEWEST = 200
FEW_IDS = 8


class Fragmentation(NamedTuple):
    """What a few planes say of a label.

    Attributes:
        pieces: connected pieces in a plane for each id in it.
        changes: share of the pairs of neighbours, neither of them 0, whose ids differ; the axis with fewer counts.
        ids: how many ids the planes have.
    """

    pieces: float
    changes: float
    ids: int


def check_fragmentation(label: Cut, name: str) -> None:
    """See that the ids of a label are those of objects. Doubts are logged as warnings.

    Args:
        label: (Z, Y, X), integers or bool.
        name: the file, for the message.

    Raises:
        InputError: this is a grey image, or a mask with one id for all objects of a class.
    """
    found = fragmentation(label)
    told = f"{found.ids} ids in {found.pieces:.1f} pieces each, and {found.changes:.0%} of neighbouring voxels differ"
    if found.pieces > SURE_PIECES and found.ids <= FEW_IDS:
        raise InputError(
            f"{name}: {told} (in {PLANES} planes), a semantic mask; expected instances, each object with an id of its "
            "own. Label the objects of each class one by one, or, where none touch, by connected components."
        )
    if found.pieces > SURE_PIECES or found.changes > SURE_CHANGES:
        raise InputError(
            f"{name}: {told} (in {PLANES} planes), which looks like a grey image; expected instances, each object with "
            "an id of its own. Were image and label given the wrong way round?"
        )
    if found.pieces > DOUBTFUL_PIECES or found.changes > DOUBTFUL_CHANGES:
        logger.warning(
            "%s: %s. Labels rarely look like this: check that it is no image or mask of classes.", name, told
        )


def fragmentation(label: Cut) -> Fragmentation:
    """Measure up to seven planes, evenly spaced, 1024 voxels wide at most.

    Memory: 16 bytes for each voxel of one plane's part.

    Args:
        label: (Z, Y, X), integers or bool.
    """
    height, width = (slice(max(0, (side - SIDE) // 2), (side + SIDE) // 2) for side in label.shape[1:])
    pieces, ids, voxels, changes, known = 0, 0, 0, np.zeros((2, 2)), set[int]()
    for z in np.unique(np.linspace(0, label.shape[0] - 1, PLANES).round().astype(int)).tolist():
        present, plane = _numbered(label[z : z + 1, height, width])
        pieces += int(connected_components(plane, 6).max())
        ids, voxels = ids + len(present), voxels + int(np.count_nonzero(plane))
        known.update(present)
        changes += [_changes(plane[0]), _changes(plane[0].T)]
    shares = [differing / pairs if pairs >= FEWEST else 0.0 for differing, pairs in changes]
    return Fragmentation(pieces / max(1, ids) if voxels >= FEWEST else 1.0, float(min(shares)), len(known))


def _numbered(plane: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Ids without 0, and the plane with these numbered from 1: cc3d takes no id that needs 64 bits."""
    whole = np.ascontiguousarray(plane.view(np.uint8) if plane.dtype == bool else plane)
    numbered, found = fastremap.renumber(whole, preserve_zero=True, in_place=False)
    return [int(value) for value in found if value != 0], numbered


def _changes(plane: np.ndarray) -> tuple[int, int]:
    """Pairs of neighbours along the last axis, neither of them 0: how many differ, and how many there are."""
    first, second = plane[:, :-1], plane[:, 1:]
    both = (first != 0) & (second != 0)
    return int(np.count_nonzero(both & (first != second))), int(np.count_nonzero(both))
