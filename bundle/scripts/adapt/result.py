"""result.json: every figure of an adaptation."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from scripts.adapt.record import Record
from scripts.adapt.request import Request
from scripts.handlers.run_record import installed_versions
from scripts.plan.file import read_plan
from scripts.volume_io import short_name
from scripts.volume_io.replacement import write_text

__all__ = ["RESULT", "read_result", "refinement_text", "start_text", "write_result"]

RESULT = "result.json"


def write_result(request: Request, effort: str, record: Record, commands: Mapping[str, str]) -> dict[str, Any]:
    """Write result.json, and return what it holds.

    Args:
        request: what was done.
        effort: its name.
        record: the stages' times.
        commands: by stage, as one would type them.
    """
    plan = read_plan(request.out / "model.pt")
    result = {
        "effort": effort,
        "start": start_text(request.start_from),
        "volumes": _volumes(request),
        "scores": json.loads((request.out / "metrics.json").read_text()) if request.labels else None,
        "judged": _judged(request),
        "refined": _refined(request),
        "seconds": {name: record.seconds(name) for name in commands if name in record.stages},
        "minutes": round(sum(record.seconds(name) for name in commands) / 60, 2),
        "peak_memory_mb": round(record.megabytes()),
        "plan": None if plan is None else asdict(plan),
        "iterations": request.values["iterations"],
        "warm_up_iterations": request.values["warm_up_iterations"],
        "settings": request.settings(effort),
        "commands": dict(commands),
        "versions": installed_versions(),
    }
    write_text(request.out / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def read_result(request: Request) -> dict[str, Any] | None:
    """Return what result.json holds; None where there is none, or one that is not whole."""
    try:
        found = dict(json.loads((request.out / RESULT).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if {"volumes", "scores", "minutes", "peak_memory_mb"} <= found.keys() else None


def start_text(weights: str | None) -> str:
    """Return what the generators start from, in words."""
    return "fresh weights" if weights is None else weights


def _judged(request: Request) -> dict[str, Any] | None:
    """What judge.json of the training has: scores, the choice and its reason; None where nothing was chosen."""
    path = request.out / "train" / "judge.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _refined(request: Request) -> list[dict[str, Any]] | None:
    """The rows of refine.csv: what was kept in each round, and its score; None where nothing was refined."""
    path = request.out / "refine" / "refine.csv"
    if not request.rounds or not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def refinement_text(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return what became of the rounds of a refinement, in words."""
    kept = [row for row in rounds if not row["undone"]]
    if len(kept) > 1:
        return f"refined in {len(kept) - 1} rounds: score {kept[0]['score']} before, {kept[-1]['score']} after"
    if len(rounds) > 1:
        return "not refined: the first round was worse, and is undone"
    found = int(rounds[0]["found"] or 0)
    return f"not refined: {rounds[0]['kept'] or 0} of {found} instances could be trusted, which is too few"


def _volumes(request: Request) -> list[dict[str, Any]]:
    """What was found in each volume of Y, and its files."""
    with open(request.out / "instances.csv", newline="", encoding="utf-8") as file:
        counts = Counter(row["volume"] for row in csv.DictReader(file))
    return [
        {
            "image": image,
            "instances": counts[short_name(image)],
            "files": [request.result(image, kind).name for kind in ("maps", "instances")],
        }
        for image in request.images
    ]
