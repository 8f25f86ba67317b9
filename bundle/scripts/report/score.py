"""The table of scores on the page, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SCORES", "rows_of_scores", "score_cells"]

SCORES = {"ap50": "AP-50", "ap75": "AP-75", "f1_50": "F1-50"}
METHODS = {"": "CySGAN", "source_only_": "source only", "classical_": "classical recipe"}


def rows_of_scores(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Turn the flat metrics of a run (`ap50`, `classical_ap50`, ...) into a row for each method that has some."""
    keys = (*SCORES, "found", "present")
    rows = {name: {key: metrics[p + key] for key in keys if p + key in metrics} for p, name in METHODS.items()}
    return {name: row for name, row in rows.items() if row}


def score_cells(scores: Mapping[str, Mapping[str, float]] | None) -> list[list[str]]:
    """Header and rows as text; nothing without scores."""
    if not scores:
        return []
    rows = [["", *SCORES.values(), "found / present"]]
    for name, row in scores.items():
        values = [f"{row[key]:.3f}" if row.get(key) is not None else "–" for key in SCORES]
        counts = [f"{row[key]:,.0f}" if row.get(key) is not None else "–" for key in ("found", "present")]
        rows.append([name, *values, " / ".join(counts) if set(counts) != {"–"} else "–"])
    return rows
