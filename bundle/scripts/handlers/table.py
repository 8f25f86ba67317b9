"""Tables that grow line by line."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.errors import unwritable
from scripts.volume_io.replacement import write_table

__all__ = ["GrowingTable", "read_table"]


class GrowingTable:
    """A CSV file to whose end a training writes rows, each with its `iteration`.

    A row is one line that is added. Where it has a column that the file lacks, as in the first iterations of a stage,
    the whole file is written once more under a temporary name. Rows are not kept in memory.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []

    def begin(self, iteration: int) -> None:
        """Keep the rows up to an iteration, from which the training continues; with 0 the first row replaces the file.

        A last line that is cut short, by kill -9 or a full disk, goes as well.

        Raises:
            InputError: the file cannot be written.
        """
        self.columns = []
        if not iteration or not self.path.exists():
            return
        self.columns, rows, whole = _read(self.path)
        kept = [row for row in rows if _iteration(row) <= iteration]
        if self.columns and (not whole or len(kept) < len(rows)):
            write_table(self.path, kept, self.columns)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row.

        Raises:
            InputError: it cannot be written; the rows before it are untouched.
        """
        new = [name for name in row if name not in self.columns]
        if new or not self.path.exists():
            rows = _read(self.path)[1] if self.columns and self.path.exists() else []
            self.columns += new
            write_table(self.path, [*rows, row], self.columns)
        else:
            self._add(row)

    def _add(self, row: Mapping[str, Any]) -> None:
        line = io.StringIO(newline="")
        csv.DictWriter(line, self.columns, restval="").writerow(row)
        size = self.path.stat().st_size
        try:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                file.write(line.getvalue())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, size)
            raise unwritable(self.path, error) from error


def read_table(path: Path, until: float = math.inf) -> list[dict[str, str]]:
    """Return the rows of a training's table up to an iteration, without empty cells and a last line cut short."""
    return [row for row in _read(path)[1] if _iteration(row) <= until]


def _read(path: Path) -> tuple[list[str], list[dict[str, str]], bool]:
    """Columns, rows, and whether the file ends with a whole line."""
    text = path.read_bytes().decode("utf-8", "replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    rows = [{name: value for name, value in row.items() if name and value} for row in reader]
    return list(reader.fieldnames or ()), rows, text.endswith("\n")


def _iteration(row: Mapping[str, Any]) -> float:
    """Of a row; infinity where a power cut has left something that is no number."""
    try:
        return float(row["iteration"])
    except (KeyError, ValueError):
        return math.inf
