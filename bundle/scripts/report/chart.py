"""Curves and histograms as coordinates, which the page draws: sharp at any size, in the colours of its reader."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator
from scripts.report.curve import running_mean

__all__ = ["Axis", "Chart", "histogram_chart", "loss_chart"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 280, 170, 42, 16, 8, 34
POINTS = 400
"""Of a curve at most."""
BINS = 24


@dataclass(frozen=True)
class Axis:
    """From values to pixels.

    Args:
        low: value at `start`.
        high: value at `stop`.
        start: pixel.
        stop: pixel.
        log: whether equal ratios are as long.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Pixels; values outside are moved to the ends."""
        ends = np.array([self.low, self.high])
        (low, high), at = (np.log(v) if self.log else v for v in (ends, np.clip(values, *ends)))
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Pixels and texts."""
        subs = (1.0,) if self.log and self.high / self.low > 300 else (1.0, 2.0, 5.0)
        locator = LogLocator(subs=subs) if self.log else MaxNLocator(4, steps=(1, 2, 5, 10))
        values = np.asarray(locator.tick_values(self.low, self.high))
        shown = [value for value in values.tolist() if self.low <= value <= self.high]
        return [(float(self(np.asarray(value))), _text(value)) for value in shown]


@dataclass
class Chart:
    """What the template draws.

    Attributes:
        title: over the chart.
        x: axis along the bottom.
        y: axis along the left.
        x_name: of what is along the bottom, with its unit.
        y_name: of what is along the left.
        lines: class and path of each.
        legend: class and text of each.
        band: pixels from the left, start and end of what is marked, and its name; None for nothing.
        summary: for those who cannot see it.
    """

    title: str
    x: Axis
    y: Axis
    x_name: str
    y_name: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    band: tuple[float, float, str] | None = None
    summary: str = ""


def loss_chart(name: str, steps: np.ndarray, values: np.ndarray, last: float, warm_up: int = 0) -> Chart:
    """Draw a term of the loss, as it was and smoothed.

    Args:
        name: of the term.
        steps: iterations.
        values: of the term, as many.
        last: iteration at which the axis ends, the same for all terms.
        warm_up: iterations of the warm-up, which is marked.
    """
    smooth = running_mean(values)
    log = bool(smooth.min() > 0 and smooth.max() / smooth.min() > 20)
    spread = (smooth.min(), smooth.max()) if log else np.percentile(np.concatenate([values, smooth]), (0.5, 99.5))
    low, high = _widened(float(spread[0]), float(spread[1]), log)
    x = Axis(0.0, max(last, 1.0), LEFT, WIDTH - RIGHT)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    chart = Chart(name, x, y, "iteration", "loss, logarithmic" if log else "loss")
    chart.lines = [("raw", _path(x, y, steps, values)), ("smooth", _path(x, y, steps, smooth))]
    chart.summary = f"{name}: {smooth[0]:.3g} at iteration {steps[0]:g}, {smooth[-1]:.3g} at iteration {steps[-1]:g}"
    if warm_up > 0:
        chart.band = (x.start, float(x(np.asarray(float(warm_up)))), "warm-up")
    return chart


def histogram_chart(title: str, name: str, groups: Mapping[str, np.ndarray], log: bool) -> Chart | None:
    """Draw the shares of objects by a size, a line for each group; None where nobody has any.

    Args:
        title: over the chart.
        name: of the size, with its unit.
        groups: positive sizes by name; a group without any is told in the legend.
        log: whether bins are of equal ratios.
    """
    known = np.concatenate([np.zeros(0), *groups.values()])
    if not len(known):
        return None
    low, high = _widened(float(known.min()), float(np.percentile(known, 99.8)), log)
    low = low if log else 0.0
    edges = np.geomspace(low, high, BINS + 1) if log else np.linspace(low, high, BINS + 1)
    counts = {key: np.histogram(np.clip(v, low, high), edges)[0] for key, v in groups.items()}
    shares = {key: 100 * count / max(1, count.sum()) for key, count in counts.items()}
    x = Axis(low, high, LEFT, WIDTH - RIGHT, log)
    y = Axis(0.0, 1.08 * max(float(share.max()) for share in shares.values()), HEIGHT - BOTTOM, TOP)
    chart = Chart(title, x, y, name, "share of objects, %")
    for number, (key, share) in enumerate(shares.items()):
        chart.lines.append((f"group{number}", _path(x, y, edges.repeat(2), np.pad(share.repeat(2), 1))))
        told = f", median {_text(float(np.median(groups[key])))}" if len(groups[key]) else ""
        chart.legend.append((f"group{number}", f"{key}: {len(groups[key]):,} objects{told}"))
    chart.summary = f"{title}. " + "; ".join(text for _, text in chart.legend)
    return chart


def _path(x: Axis, y: Axis, across: np.ndarray, up: np.ndarray) -> str:
    """An SVG path; of too many points every second, third, … and the last."""
    step = math.ceil(len(across) / POINTS)
    keep = np.unique(np.append(np.arange(0, len(across), step), len(across) - 1))
    pairs = zip(x(across[keep]).tolist(), y(up[keep]).tolist(), strict=True)
    points = " L".join(f"{right:.1f} {down:.1f}" for right, down in pairs)
    return f"M{points}" if len(keep) > 1 else f"M{points} h0.01"


def _widened(low: float, high: float, log: bool) -> tuple[float, float]:
    """The range with a margin; of a single value some room on both sides."""
    if log:
        ratio = max((high / low) ** 0.05, 1.1)
        return low / ratio, high * ratio
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _text(value: float) -> str:
    return (f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}").replace("-", "−")
