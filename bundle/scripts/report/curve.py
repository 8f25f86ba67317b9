"""Losses as a training wrote them, and smoothed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scripts.errors import InputError

__all__ = ["read_losses", "running_mean"]

Series: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray]]
"""name -> (iterations, values)"""


def read_losses(path: str | Path) -> Series:
    """Read a CSV file with a column `iteration` and one column for each term; empty cells are left out.

    A last line that is cut short, as a training leaves it that is killed while it writes, is left out too.

    Returns:
        name -> (iterations, values), only finite values and only terms that have some.

    Raises:
        InputError: if the file is missing, has no column `iteration`, or holds something that is no number.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))  # whole lines alone
        lines, names = list(reader), reader.fieldnames or []
        steps = [float(line["iteration"]) for line in lines]
        return _finite({n: (steps, [float(line[n] or "nan") for line in lines]) for n in names if n != "iteration"})
    except OSError as error:
        raise InputError(f"{path}: cannot read the losses ({error.strerror})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected numbers, a column `iteration` and one for each term; found {error}"
        ) from error


def _finite(history: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Series:
    series = {}
    for name, pair in history.items():
        steps, values = (np.asarray(numbers, float) for numbers in pair)
        keep = np.isfinite(steps) & np.isfinite(values)
        if keep.any():
            series[name] = (steps[keep], values[keep])
    return series


def running_mean(values: np.ndarray) -> np.ndarray:
    """Centred mean over a fortieth of the series, over less at its ends."""
    box = np.ones(max(1, len(values) // 40))
    return np.convolve(values, box, "same") / np.convolve(np.ones(len(values)), box, "same")
