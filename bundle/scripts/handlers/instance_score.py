"""Scores of decoded instances, in validation and evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from scripts.metrics import score_instances
from scripts.volume_io import short_name
from scripts.volume_io.replacement import write_table, write_text

__all__ = ["InstanceScores"]


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
            self.rows.append({"volume": short_name(str(name)), **score_instances(_as_integer(truth), prediction)})

    def _sum_up(self, engine: Engine) -> None:
        numbers = [name for name in self.rows[0] if name != "volume"] if self.rows else []
        mean = {name: float(np.mean([row[name] for row in self.rows])) for name in numbers}
        engine.state.metrics.update({f"{self.prefix}{name}": mean[name] for name in self.names if name in mean})
        if self.output_dir and engine.state.rank == 0:
            folder = Path(self.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "metrics.json", json.dumps({**mean, "volumes": self.rows}, indent=2) + "\n")
            write_table(folder / "metrics.csv", self.rows)


def _as_integer(label: np.ndarray) -> np.ndarray:
    return label if label.dtype.kind in "iu" else label.astype(np.int64)
