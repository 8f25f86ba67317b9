"""How figures are printed, and what stands beside them: the limit, the reference's figures, those of an earlier run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stopwatch import Result
from workload import WORKLOADS


class Figure(NamedTuple):
    """How a figure is named and written."""

    label: str
    style: str
    factor: float = 1.0

    def text(self, value: float) -> str:
        return format(value * self.factor, self.style)


FIGURES = {
    "seconds": Figure("s", ",.4f"),
    "core_seconds": Figure("core-s", ",.4f"),
    "peak_memory_mb": Figure("MB at the peak", ",.0f"),
    "flops": Figure("GFLOP", ",.3f", 1e-9),
    "gflop_per_second": Figure("GFLOP/s", ",.1f"),
    "voxels_per_second": Figure("voxels/s", ",.0f"),
    "voxels_per_core_second": Figure("voxels/core-s", ",.0f"),
}
_COMPARED = ("seconds", "core_seconds", "peak_memory_mb", "flops", "voxels_per_core_second")
_COUNTS = {
    "terms": "{} terms",
    "windows": "{} windows",
    "instances": "{} instances",
    "found": "{} found",
    "memory_before_mb": "{:,.0f} MB before",
    "waits_percent": "waits {:.1f} %",
    "worker_memory_mb": "{:,.0f} MB each worker",
    "bytes_for_voxel": "{:.1f} bytes for each voxel",
    "milliseconds_fresh": "{:.1f} ms with memory fetched anew",
    "cost_alone": "an iteration alone takes {:+.0%} with the waits of our trainings",
    "milliseconds_reused": "{:.1f} ms with memory reused",
}

SOURCE = "PyTorch Connectomics v1.0, projects/CySGAN, on two CPU cores"
# In the default shape; also of the variants whose names end in _kept or _bfloat16.
REFERENCE: dict[str, dict[str, float]] = {
    "train_published": {"core_seconds": 95, "peak_memory_mb": 17_900},
    "train_small": {"core_seconds": 4.3, "peak_memory_mb": 2_300},
    "window": {"core_seconds": 21, "peak_memory_mb": 2_300},
    "inference": {"voxels_per_core_second": 17_500, "peak_memory_mb": 2_600},
    "encoding": {"core_seconds": 1.7},
    "pair": {"core_seconds": 1.0},  # 2.0 for the two pairs of a step
    "watershed": {"voxels_per_second": 1_750_000},
}


class Earlier(NamedTuple):
    """Figures of an earlier run, and the file they are from."""

    name: str
    results: Mapping[str, Result]


def rated(result: Result, attainable: Mapping[str, float]) -> Result:
    """Add the rate of floating-point operations, and its share of the attainable one, where they were counted."""
    if "flops" not in result:
        return result
    rate = result["flops"] / result["seconds"] / 1e9
    return result | {"gflop_per_second": rate, "share_of_attainable": rate / attainable[result["precision"]]}


def lines(name: str, result: Result, earlier: Earlier | None = None) -> list[str]:
    """Describe what one workload gave."""
    shape = [" x ".join(map(str, result["shape"]))] if "shape" in result else []
    counts = [text.format(result[key]) for key, text in _COUNTS.items() if key in result]
    note = _note(name, result, earlier) if earlier else []
    head = f"{name}: {'; '.join([*shape, *counts, *note])}".rstrip(": ")
    old = earlier.results[name] if earlier and name in earlier.results and not note else {}
    beside = reference(name, result)
    figures = [_line(key, result, beside, old, earlier) for key in FIGURES if key in result]
    return [head, *figures, *_table(result.get("rows", []))]


def reference(name: str, result: Result) -> dict[str, float]:
    """The reference's figures for a workload, if it had the default shape."""
    shape = WORKLOADS[name].shape
    alike = shape is not None and tuple(result["shape"]) == shape
    return REFERENCE.get(name.removesuffix("_bfloat16").removesuffix("_kept"), {}) if alike else {}


def read_earlier(path: Path) -> Earlier:
    """Read the file of an earlier run; ends the program where it cannot be one."""
    try:
        results = json.loads(path.read_text())["results"]
        for result in results.values():
            tuple(result.get("shape") or ())
            if not all(float(result[key]) > 0 for key in _COMPARED if key in result):
                raise ValueError("a figure that is not above 0")
    except FileNotFoundError:
        sys.exit(f"{path}: no such file. Expected what --out wrote in an earlier run.")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        sys.exit(f"{path}: found no figures in it ({error}). Expected what --out wrote in an earlier run.")
    return Earlier(path.name, results)


def _note(name: str, result: Result, earlier: Earlier) -> list[str]:
    """Why there is nothing to compare with, if so."""
    if name not in earlier.results:
        return [f"not in {earlier.name}"]
    default = WORKLOADS[name].shape
    then = earlier.results[name].get("shape", default)
    now = result.get("shape", default)
    return [] if list(then or ()) == list(now or ()) else [f"of another shape in {earlier.name}"]


def _line(key: str, result: Result, beside: Mapping[str, float], old: Result, earlier: Earlier | None) -> str:
    figure, value = FIGURES[key], result[key]
    notes = []
    if key == "gflop_per_second":
        notes.append(f"{result['share_of_attainable']:.1%} of the attainable")
    if key in beside:
        notes.append(f"{value / beside[key]:.2f} of the reference's {figure.text(beside[key])}")
    if earlier and key in old and key in _COMPARED:
        notes.append(f"{value / float(old[key]):.2f} of {earlier.name}'s {figure.text(float(old[key]))}")
    return f"  {figure.text(value):>14} {figure.label:16}{'; '.join(notes)}".rstrip()


def _table(rows: list[Result]) -> list[str]:
    """Rows under their keys; a row need not have all of them."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([_cell(key, row.get(key, "")) for key in keys] for row in rows)] if rows else []
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    return ["  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]


def _cell(key: str, value: Any) -> str:
    if not isinstance(value, float) or key == "overlap":
        return str(value)
    return FIGURES[key].text(value) if key in FIGURES else f"{value:.4f}"
