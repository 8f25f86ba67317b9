"""How a result was made, in words: what the plan in its file, or in the file of its maps, says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from scripts.check.value import Values
from scripts.errors import InputError
from scripts.inspect import printable, sections_of
from scripts.plan import MAY_DIFFER, Plan
from scripts.plan.file import read_plan
from scripts.report.run import public
from scripts.volume_io import split_dataset

__all__ = ["Origin", "channels_of", "origin_of", "plan_line", "result_plan"]

_KEYS = ("scale", "training_voxel_size", "intensity_percentiles", "intensity_gamma", *MAY_DIFFER)
_TITLES = {
    "fixed by the training": "How the network saw it",
    "chosen for each result": "How it was predicted and cut into instances",
    "not the model's own": "What the model has otherwise",
    "trained on": "What the model was trained on",
}
_LONGEST, _MOST = 300, 40  # letters of a value, and rows: a plan may be anybody's


class Origin(NamedTuple):
    """How a result was made.

    Attributes:
        file: the name of the file that says it.
        version: of the bundle that wrote the model, "" where it is unknown.
        groups: titles, each with names and values.
    """

    file: str
    version: str
    groups: list[tuple[str, list[tuple[str, str]]]]


def result_plan(result: str) -> tuple[str, Plan | None]:
    """Return the plan of instances or maps, and the file that has it: their own, or the maps beside them.

    Inference writes `Y_maps.h5` beside `Y_instances.tif`; TIFF and NIfTI themselves carry no plan.

    Raises:
        InputError: see `scripts.plan.file.read_plan`.
    """
    if (plan := read_plan(result)) is not None:
        return result, plan
    file = split_dataset(result)[0]
    stem, found, _ = file.name.rpartition("_instances.")
    maps = file.with_name(f"{stem}_maps.h5")
    return (str(maps), read_plan(maps)) if found and maps.is_file() else (result, None)


def origin_of(result: str | None, notes: list[str]) -> Origin | None:
    """Return how a result was made; None where no file says it.

    Args:
        result: the file of instances; None without one.
        notes: gets a line where a plan cannot be read: what is drawn does not depend on it.
    """
    if result is None:
        return None
    try:
        file, plan = result_plan(result)
    except InputError as error:
        notes.append(f"How the result was made is left out: {error}")
        return None
    if plan is None:
        return None
    sections = sections_of(plan, [key for key in _KEYS if plan.keys.get(key) is not None])
    groups = [(title, _rows(sections[name])) for name, title in _TITLES.items()]
    return Origin(Path(file).name, printable(plan.version), [(title, rows) for title, rows in groups if rows])


def plan_line(plan: Plan) -> str:
    """Return how a result was made, in a line: thresholds first, then scale, overlap and flips."""
    decoder = dict(plan.keys.get("decoder") or {})
    options = {name: value for name, value in decoder.items() if name.startswith(("seed_", "mask_", "min_"))}
    options |= {name: plan.keys[name] for name in ("scale", "overlap", "flips") if name in plan.keys}
    return printable(", ".join(f"{name} {_number(value)}" for name, value in options.items()))


def channels_of(plan: Plan | None) -> list[str]:
    """Return what the channels of a plan's maps are; nothing where it does not say, or has maps of others."""
    representation = (plan.keys.get("representation") if plan else None) or {}
    names: list[str] = []
    maps = representation.get("maps")
    for one in maps if isinstance(maps, list) else ():
        known = Values({"representation": {**representation, "maps": [one]}}).maps()
        if known is None:
            return []
        [name], count = known
        names += [name] if count == 1 else [f"{name} {number}" for number in range(1, count + 1)]
    return names


def _rows(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    more = len(rows) - _MOST
    return [_shown(*row) for row in rows[:_MOST]] + ([("…", f"{more} more")] if more > 0 else [])


def _shown(name: str, value: str) -> tuple[str, str]:
    """A row without what only a terminal wants, and without passwords in addresses."""
    text = public(printable(value))
    return printable(name.strip())[:_LONGEST], text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _number(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " x ".join(map(_number, value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)
