"""How far the instances of a volume can be trusted: a histogram, and the places to look at first."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.report.chart import Chart, histogram_chart
from scripts.volume_io import short_name

__all__ = ["ConfidencePart", "confidence_of_table"]

MOST = 20
"""Rows at most."""
_COLUMNS = ("id", "z_centroid", "y_centroid", "x_centroid", "voxels", "confidence")


class ConfidencePart(NamedTuple):
    """What the page shows.

    Attributes:
        chart: shares of the instances by confidence.
        head: of the rows.
        rows: the least sure instances, with their places.
    """

    chart: Chart
    head: list[str]
    rows: list[list[str]]


def confidence_of_table(path: str, image: str | None = None) -> ConfidencePart | None:
    """Read the confidence of the instances of a volume.

    Args:
        path: instances.csv of `scripts.adapt`.
        image: the volume; None takes all rows.

    Returns:
        None where no confidence is known.

    Raises:
        InputError: the file cannot be read, or a number is none.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if image is None or row.get("volume") == short_name(image)]
        known = [{name: float(row[name]) for name in _COLUMNS} for row in rows if row.get("confidence")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read as a table of instances ({error}); expected what scripts.adapt writes."
        ) from error
    shares = np.array([row["confidence"] for row in known])
    chart = histogram_chart("Confidence", "share of perturbations", {"instances of Y": shares}, log=False)
    least = sorted(known, key=lambda row: row["confidence"])[:MOST]
    cells = [[f"{row[name]:.0f}" for name in _COLUMNS[:-1]] + [f"{row['confidence']:.2f}"] for row in least]
    return None if chart is None else ConfidencePart(chart, ["id", "z", "y", "x", "voxels", "confidence"], cells)
