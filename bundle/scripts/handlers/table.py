"""Small text files, written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.volume_io.paths import replacing

__all__ = ["read_table", "write_table", "write_text"]


def read_table(path: Path, until: int) -> list[dict[str, Any]]:
    """Return the rows of a training's table up to an iteration, of which it goes on; none where there is no file."""
    if not until or not path.exists():
        return []
    with open(path, newline="") as file:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if float(row["iteration"]) <= until]


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write dictionaries as a CSV file under a temporary name, then rename it.

    Raises:
        InputError: it cannot be written; what was there before is untouched.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        table.writeheader()
        table.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it.

    Raises:
        InputError: it cannot be written; what was there before is untouched.
    """
    with replacing(path) as temporary:
        temporary.write_text(text)
