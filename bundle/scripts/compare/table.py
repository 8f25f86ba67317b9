"""The results as tables: every run as CSV, the mean and range of each method as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scripts.volume_io.replacement import write_table, write_text

__all__ = ["summarise", "write_results"]

SCORES = {"ap50": "AP-50", "ap75": "AP-75", "f1_50": "F1-50", "dice": "Dice"}
UNLABELLED = {"score": "score without labels"}
"""Where Y has no labels, see `scripts.judge`."""
_KEPT = ("method", "seed", *SCORES, *UNLABELLED, "found", "present", "hours")


def summarise(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a Markdown table.

    Args:
        rows: of each run `method` (its title), `seed`, the scores that are known, `found`, `present` and `hours`.

    Returns:
        A line for each method in the order given, with the mean over its seeds and, of AP-50, the range.
    """
    names = UNLABELLED if any("score" in row for row in rows) else SCORES
    lines = [
        f"| method | {' | '.join(names.values())} | found / present | seeds | hours |",
        "|---|" + "---|" * (len(names) + 3),
    ]
    for title in dict.fromkeys(row["method"] for row in rows):
        lines.append(_line(title, [row for row in rows if row["method"] == title], names))
    return "\n".join(lines) + "\n"


def write_results(folder: Path, rows: Sequence[Mapping[str, Any]], note: str) -> None:
    """Write results.csv, a row for each run, and results.md, which ends with the note."""
    write_table(folder / "results.csv", [{name: row.get(name, "") for name in _KEPT} for row in rows])
    write_text(folder / "results.md", f"{summarise(rows)}\n{note}\n")


def _line(title: str, runs: Sequence[Mapping[str, Any]], names: Iterable[str]) -> str:
    cells = [_mean(runs, name, "{:.3f}") for name in names]
    values = [run["ap50"] for run in runs if "ap50" in run]
    if len(values) > 1:
        cells[0] += f" ({min(values):.3f}–{max(values):.3f})"
    counts = f"{_mean(runs, 'found', '{:.0f}')} / {_mean(runs, 'present', '{:.0f}')}"
    return f"| {title} | {' | '.join(cells)} | {counts} | {len(runs)} | {_mean(runs, 'hours', '{:.2f}')} |"


def _mean(runs: Sequence[Mapping[str, Any]], name: str, form: str) -> str:
    values = [run[name] for run in runs if name in run]
    return form.format(float(np.mean(values))) if values else "–"
