"""Handlers for what MONAI's own do not do: loss table, image panels, a watch on swapped classes, instance scores."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from scripts.metrics import score_instances
from scripts.report import cycle_panel

__all__ = ["CyclePanels", "InstanceScores", "LossTable", "PolarityWatch", "TermProgressBar"]

logger = logging.getLogger(__name__)


class LossTable:
    """Writes the mean of every loss term over `interval` iterations to a CSV file that `scripts.report` draws.

    Columns: `iteration` and one for each term seen so far, empty where a term was not part of the stage. A resumed
    training cuts rows of iterations that are run again.

    Args:
        path: the CSV file.
        interval: iterations averaged in a row.
    """

    def __init__(self, path: str, interval: int = 10) -> None:
        self.path, self.interval = Path(path), interval
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, list[float]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect every iteration, write every `interval` and at the end."""
        engine.add_event_handler(Events.STARTED, self._read)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._write)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _read(self, engine: Engine) -> None:
        if engine.state.iteration and self.path.exists():
            with open(self.path, newline="") as file:
                rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if float(row["iteration"]) <= engine.state.iteration]

    def _collect(self, engine: Engine) -> None:
        for name, value in engine.state.output.items():
            self.sums.setdefault(name, []).append(float(value))

    def _write(self, engine: Engine) -> None:
        if not self.sums:
            return
        means = {name: float(np.mean(values)) for name, values in self.sums.items()}
        self.rows.append({"iteration": engine.state.iteration, **means})
        self.sums.clear()
        if engine.state.rank == 0:
            write_table(self.path, self.rows)


class TermProgressBar:
    """One bar over the whole training: iterations done, time left, and the latest losses.

    Args:
        description: before the bar.
        terms: losses shown beside "loss".
    """

    def __init__(
        self, description: str = "training", terms: Sequence[str] = ("cycle_y", "segmentation_x", "structure")
    ) -> None:
        self.description, self.terms = description, ("loss", *terms)

    def attach(self, engine: Engine) -> None:
        """Open the bar at the start of the run, move it every iteration, close it at the end."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._move)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.bar.close())

    def _open(self, engine: Engine) -> None:
        total = engine.state.max_epochs * engine.state.epoch_length
        self.bar = tqdm(
            total=total,
            initial=engine.state.iteration,
            desc=self.description,
            mininterval=1.0,
            disable=engine.state.rank != 0,
        )

    def _move(self, engine: Engine) -> None:
        latest = engine.state.output
        self.bar.set_postfix({name: f"{latest[name]:.3f}" for name in self.terms if name in latest}, refresh=False)
        self.bar.update()


class CyclePanels:
    """Writes X to Y to X and Y to X to Y, with the maps, as one image each to TensorBoard.

    Args:
        log_dir: TensorBoard folder.
        representation: names the map channels and brings them to [0, 1].
        interval: iterations between images.
    """

    def __init__(self, log_dir: str, representation: Any, interval: int = 500) -> None:
        self.log_dir, self.representation, self.interval = log_dir, representation, interval

    def attach(self, engine: Engine) -> None:
        """Write every `interval` iterations."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def __call__(self, engine: Engine) -> None:
        """Write the panels of the current iteration."""
        if self.writer is None:
            return
        cycles = (("x", "fake_y", "rec_x", "maps_x"), ("y", "fake_x", "rec_y", "maps_y", "maps_rec_y"))
        for cycle in (names for names in cycles if names[0] in engine.state.panels):
            strip = cycle_panel([self._row(engine.state.panels, cycle)])
            self.writer.add_image(f"cycle_{cycle[0]}", strip, engine.state.iteration)

    def _row(self, panels: Mapping[str, Tensor], names: Sequence[str]) -> tuple[str, np.ndarray]:
        captions: list[str] = []
        volumes: list[Tensor] = []
        for name in (n for n in names if n in panels):
            maps = name.startswith("maps")
            captions += [f"{name[5:]} {c}" for c in self.representation.names] if maps else [name]
            volumes.append(self.representation.to_unit(panels[name][None])[0] if maps else (panels[name] + 1) / 2)
        return " | ".join(captions), torch.cat(volumes).float().cpu().numpy()

    def _open(self, engine: Engine) -> None:
        self.writer = SummaryWriter(self.log_dir) if engine.state.rank == 0 else None

    def _close(self, engine: Engine) -> None:
        if self.writer:
            self.writer.close()


class PolarityWatch:
    """Says in words when the generators have swapped bright and dark, or nuclei and background.

    Over `window` iterations of the adversarial stage it averages the Pearson correlation (a) between Y's patches and
    their translation, (b) between Y and the foreground map of Y, compared with the same correlation between X and the
    foreground map of X. An ordinary-looking loss does not show either.

    Args:
        window: iterations averaged.
        threshold: correlations below minus this are worth a warning.
    """

    def __init__(self, window: int = 50, threshold: float = 0.1) -> None:
        self.window, self.threshold = window, threshold
        self.seen: dict[str, list[float]] = {}
        self.warned: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Look at every iteration of `engine`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take in one iteration and warn when a window is full and its mean is wrong."""
        panels = engine.state.panels
        if "fake_x" not in panels:
            return
        self.seen.setdefault("translation", []).append(correlation(panels["y"][0], panels["fake_x"][0]))
        self.seen.setdefault("y", []).append(correlation(panels["y"][0], panels["maps_y"][0]))
        self.seen.setdefault("x", []).append(correlation(panels["x"][0], panels["maps_x"][0]))
        if len(self.seen["x"]) >= self.window:
            self._judge(engine, {name: float(np.nanmean(values)) for name, values in self.seen.items()})
            self.seen.clear()

    def _judge(self, engine: Engine, mean: Mapping[str, float]) -> None:
        engine.state.polarity = dict(mean)
        if mean["translation"] < -self.threshold:
            self._warn(
                "translation",
                f"Y's translated image is inverted: correlation with Y {mean['translation']:.2f} over the last "
                f"{self.window} iterations. Give loss_weights::correlation or loss_weights::identity a weight (1.0), "
                "or warm up longer, unless nuclei are dark in one of the two modalities.",
                engine,
            )
        if mean["y"] < -self.threshold and mean["x"] > self.threshold:
            self._warn(
                "foreground",
                f"Y's foreground map follows the dark parts of Y (correlation {mean['y']:.2f}), X's the bright parts "
                f"({mean['x']:.2f}): nuclei and background may be swapped. Warm up longer, and let foreground_share "
                "span what Y may hold.",
                engine,
            )

    def _warn(self, topic: str, text: str, engine: Engine) -> None:
        if topic not in self.warned and engine.state.rank == 0:
            self.warned.add(topic)
            logger.warning("iteration %d: %s", engine.state.iteration, text)


class InstanceScores:
    """Scores decoded instances against labels, volume by volume, and keeps the mean in `engine.state.metrics`.

    Args:
        prediction: key of the instances in the engine's output.
        truth: key of the labels.
        output_dir: also write metrics.json (every volume and the mean) and metrics.csv there.
        prefix: put before every name in `engine.state.metrics`, to tell validations apart.
        names: the scores kept in `engine.state.metrics`; the files always hold all.
    """

    def __init__(
        self,
        prediction: str = "instances",
        truth: str = "label",
        output_dir: str | None = None,
        prefix: str = "",
        names: Sequence[str] = ("f1_50", "ap50", "ap75", "dice"),
    ) -> None:
        self.prediction, self.truth, self.output_dir, self.prefix = prediction, truth, output_dir, prefix
        self.names = tuple(names)
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Score every iteration of `engine`; sum up at the end of its epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._sum_up)

    def _score(self, engine: Engine) -> None:
        for item in engine.state.output:
            truth, prediction = (
                np.asarray(torch.as_tensor(item[key]).cpu())[0] for key in (self.truth, self.prediction)
            )
            name = getattr(item[self.truth], "meta", {}).get("filename_or_obj", "")
            self.rows.append({"volume": os.path.basename(str(name)), **score_instances(_as_integer(truth), prediction)})

    def _sum_up(self, engine: Engine) -> None:
        numbers = [name for name in self.rows[0] if name != "volume"] if self.rows else []
        mean = {name: float(np.mean([row[name] for row in self.rows])) for name in numbers}
        engine.state.metrics.update({f"{self.prefix}{name}": mean[name] for name in self.names if name in mean})
        if self.output_dir and engine.state.rank == 0:
            folder = Path(self.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "metrics.json", json.dumps({**mean, "volumes": self.rows}, indent=2) + "\n")
            write_table(folder / "metrics.csv", self.rows)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of two tensors of one shape; NaN where one is constant."""
    a, b = (v.float().flatten() - v.float().mean() for v in (a, b))
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 1e-6 else math.nan


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write dictionaries as a CSV file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        table.writeheader()
        table.writerows(rows)
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def _as_integer(label: np.ndarray) -> np.ndarray:
    return label if label.dtype.kind in "iu" else label.astype(np.int64)
