"""Loss curves."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scripts.errors import InputError
from scripts.report.style import FAINT, INK, RULE, save

__all__ = ["draw_losses", "read_losses", "running_mean"]

Series: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray]]
"""name -> (iterations, values)"""


def draw_losses(path: str | Path, history: str | Path | Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Draw every term of a training, smoothed over its raw values, a panel for each group of terms.

    Terms belong together when their names agree up to the first underscore (`cycle_x`, `cycle_y`). A panel whose
    smoothed values are positive and span more than a factor of 20 is logarithmic.

    Args:
        path: the PNG to write; its folder is made.
        history: name -> (iterations, values), or a CSV file for `read_losses`.

    Raises:
        InputError: if there is no value to draw, or the file cannot be written.
    """
    series = read_losses(history) if isinstance(history, (str, Path)) else _finite(history)
    if not series:
        raise InputError(f"{path}: the history of losses holds no finite value; nothing to draw")
    groups = _groups(series)
    across = min(3, len(groups))
    down = -(-len(groups) // across)
    figure = Figure(figsize=(4.4 * across, 2.8 * down + 0.2), layout="constrained")
    for place, (title, names) in enumerate(groups.items()):
        axes = figure.add_subplot(down, across, place + 1)
        _draw_terms(axes, {name: series[name] for name in names})
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
        if place >= len(groups) - across:
            axes.set_xlabel("iteration", color=FAINT, fontsize=9)
    save(figure, path)


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


def _groups(names: Sequence[str] | Series) -> dict[str, list[str]]:
    """Names by what is before their first underscore; a name that is alone is its own title."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.split("_")[0]].append(name)
    return {group if len(members) > 1 else members[0]: members for group, members in groups.items()}


def _draw_terms(axes: Axes, series: Series) -> None:
    smooth = [running_mean(values) for _, values in series.values()]
    for number, (name, (steps, values)) in enumerate(series.items()):
        colour = colormaps["tab10"](number % 10)
        axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.6)
        marker = "o" if len(steps) == 1 else ""
        axes.plot(steps, smooth[number], color=colour, linewidth=1.6, label=name, marker=marker)
    low, high = min(map(np.min, smooth)), max(map(np.max, smooth))
    if low > 0 and high / low > 20:
        axes.set_yscale("log")
    else:
        _leave_out_spikes(axes, [values for _, values in series.values()])
    if len(series) > 1:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    _plain_frame(axes)


def _leave_out_spikes(axes: Axes, values: Sequence[np.ndarray]) -> None:
    """A single wild value must not press all others flat."""
    low, high = np.percentile(np.concatenate(values), (0.2, 99.8))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _plain_frame(axes: Axes) -> None:
    axes.grid(color=RULE, linewidth=0.7)
    axes.tick_params(colors=FAINT, labelsize=8)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(FAINT)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Centred mean over a fortieth of the series, over less at its ends."""
    box = np.ones(max(1, len(values) // 40))
    return np.convolve(values, box, "same") / np.convolve(np.ones(len(values)), box, "same")
