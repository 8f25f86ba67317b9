"""What a training left in its folder, for the page."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from scripts.errors import InputError
from scripts.report.curve import Series, read_losses

__all__ = ["RunFolder", "public", "read_run"]


class RunFolder(NamedTuple):
    """A training's folder.

    Attributes:
        path: of the folder.
        starts: what `scripts.handlers.RunRecord` wrote, one for each time it was started; none of older trainings.
        configuration: after merging, as text; empty where there is none.
        losses: by term.
        panels: for "x" and "y" iterations and pictures, the oldest first.
        missing: what a training leaves and is not there.
        judged: what judge.json has; empty where the training chose nothing.
    """

    path: Path
    starts: list[dict[str, Any]]
    configuration: str
    losses: Series
    panels: dict[str, list[tuple[int, Path]]]
    missing: list[str]
    judged: Mapping[str, Any] = MappingProxyType({})

    @property
    def last_start(self) -> dict[str, Any]:
        """The newest record, empty where there is none."""
        return self.starts[-1] if self.starts else {}

    def volumes(self, name: str) -> list[str]:
        """Files of a volume, `label_x` say, from where the training was started; patterns are left as they are."""
        given = self.last_start.get("volumes", {}).get(name)
        files = [given] if isinstance(given, str) else list(given or [])
        return [str(Path(self.last_start["folder"]) / os.path.expanduser(file)) for file in files]


def read_run(path: str | Path) -> RunFolder:
    """Read what is there.

    Raises:
        InputError: there is no such folder, nothing of a training in it, or a file of it is damaged.
    """
    folder = Path(path)
    starts = _starts(folder / "run.json") if (folder / "run.json").is_file() else []
    configuration = folder / "configuration.yaml"
    losses = read_losses(folder / "losses.csv") if (folder / "losses.csv").is_file() else {}
    panels = {cycle: _panels(folder, cycle) for cycle in "xy"}
    parts = {"run.json": starts, "configuration.yaml": configuration.is_file(), "losses.csv": losses}
    parts["panels/"] = any(panels.values())
    missing = [name for name, part in parts.items() if not part]
    if len(missing) == len(parts):
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:6]) if folder.is_dir() else "no such folder"
        raise InputError(
            f"{folder}: found no output of a training ({found or 'it is empty'}); expected {', '.join(parts)}. "
            "Name the output_dir of a training."
        )
    text = configuration.read_text() if parts["configuration.yaml"] else ""
    return RunFolder(folder, starts, text, losses, {c: p for c, p in panels.items() if p}, missing, _judged(folder))


def public(text: str) -> str:
    """Leave out user names and passwords in addresses: a page is shown to others.

    >>> public("--tracking https://me:secret@example.org")
    '--tracking https://…@example.org'
    """
    return re.sub(r"://[^/@\s]+@", "://…@", text)


def _starts(path: Path) -> list[dict[str, Any]]:
    try:
        starts = json.loads(path.read_text())["runs"]
        return [dict(start) for start in starts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no record of a run can be read ({error}); remove it to go without.") from error


def _judged(folder: Path) -> dict[str, Any]:
    path = folder / "judge.json"
    if not path.is_file():
        return {}
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        _ = (
            found["chosen"],
            found["reason"],
            [(one["name"], one["score"], *one["vetoes"]) for one in found["candidates"]],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no judgement can be read ({error}); remove it to go without.") from error
    return found


def _panels(folder: Path, cycle: str) -> list[tuple[int, Path]]:
    files = sorted((folder / "panels").glob(f"cycle_{cycle}_{'[0-9]' * 7}.jpg"))
    return [(int(file.stem.rpartition("_")[2]), file) for file in files]
