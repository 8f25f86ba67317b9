"""Places to look at first, as rows of a table: instances that were probably invented, and objects that were lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scripts.judge.instance import Confidence
from scripts.judge.place import Place

__all__ = ["COLUMNS", "doubts", "is_telling"]

COLUMNS = ("kind", "id", "z", "y", "x", "z_um", "y_um", "x_um", "voxels", "confidence", "evidence")
"""Of the table. Positions are in voxels, and in micrometres where the voxel size is known."""
UNSURE = 0.35
"""Confidence at most, and `FAINT` evidence at most, of an instance that was probably invented."""
FAINT = 0.5
SURE, ENOUGH = 0.7, 10
"""Confidence, and number, of the instances that say whether objects stand out in an image at all."""


def doubts(found: Confidence, voxel_size: Sequence[float] | None = None) -> list[dict[str, str]]:
    """Return a row for each place to look at: first what was probably invented, then what was lost.

    Invented are instances that are seldom found again and do not stand out in the image. Lost are objects that stand
    out in it, or are found under most perturbations, and have no instance. Where the image tells nothing (see
    `is_telling`), perturbations alone decide.

    Args:
        found: of a volume.
        voxel_size: (z, y, x) in micrometres.
    """
    telling = is_telling(found)
    faint = found.evidence <= FAINT if telling else np.ones(len(found.ids), bool)
    worst = np.lexsort([found.evidence, found.confidence])
    invented = [number for number in worst.tolist() if found.confidence[number] <= UNSURE and faint[number]]
    lost = [place for place in found.lost if telling or place.share > 0.5]
    rows = [*_invented(found, invented), *_lost(sorted(lost, key=lambda place: -place.voxels))]
    return [_row(*row, voxel_size) for row in rows]


def is_telling(found: Confidence) -> bool:
    """Whether what stands out in the image says anything: most instances that are found again and again stand out.

    It fails where an image is hazy, or shows something brighter than the objects.
    """
    sure = found.evidence[found.confidence >= SURE]
    if np.isnan(found.evidence).any():
        return False
    return len(sure) < ENOUGH or float(np.median(sure)) > FAINT


Row = tuple[str, int | None, Sequence[float], int, float, float]


def _invented(found: Confidence, numbers: Sequence[int]) -> Iterator[Row]:
    for number in numbers:
        figures = float(found.confidence[number]), float(found.evidence[number])
        yield "invented", int(found.ids[number]), found.centres[number].tolist(), int(found.voxels[number]), *figures


def _lost(places: Sequence[Place]) -> Iterator[Row]:
    for place in places:
        yield "lost", None, place.position, place.voxels, place.share, place.evidence


def _row(
    kind: str,
    id_: int | None,
    position: Sequence[float],
    voxels: int,
    confidence: float,
    evidence: float,
    size: Sequence[float] | None,
) -> dict[str, str]:
    lengths = ["" if size is None else f"{at * side:.6g}" for at, side in zip(position, size or position, strict=True)]
    cells = ["" if id_ is None else str(id_), *(f"{at:.6g}" for at in position), *lengths, str(voxels)]
    shares = [f"{confidence:.4g}", "" if math.isnan(evidence) else f"{evidence:.4g}"]
    return dict(zip(COLUMNS, [kind, *cells, *shares], strict=True))
