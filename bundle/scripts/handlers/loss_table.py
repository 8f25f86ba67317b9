"""What the losses were: as a table on disk, as numbers beside the progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from scripts.handlers.table import GrowingTable
from scripts.trainer import last_iteration
from tqdm import tqdm

__all__ = ["LossTable", "TermProgressBar"]


class LossTable:
    """Writes the mean of every loss term over `interval` iterations to a CSV file that `scripts.report` draws.

    Columns: `iteration` and one for each term seen so far, empty where a term was not part of the stage. A resumed
    training cuts rows of iterations that are run again, once; else rows are added.

    Args:
        path: the CSV file.
        interval: iterations averaged in a row.
    """

    def __init__(self, path: str, interval: int = 10) -> None:
        self.table, self.interval = GrowingTable(Path(path)), interval
        self.values: dict[str, list[Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Collect every iteration, write every `interval` and at the end."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self._write)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self, engine: Engine) -> None:
        if engine.state.rank == 0:
            self.table.begin(engine.state.iteration)

    def _collect(self, engine: Engine) -> None:
        for name, value in engine.state.output.items():
            self.values.setdefault(name, []).append(value)

    def _write(self, engine: Engine) -> None:
        if not self.values:
            return
        # One look at the device for all: each makes it finish what it was asked for.
        means = torch.stack(
            [torch.stack([torch.as_tensor(v) for v in values]).mean() for values in self.values.values()]
        )
        row = {"iteration": engine.state.iteration, **dict(zip(self.values, means.tolist(), strict=True))}
        self.values.clear()
        if engine.state.rank == 0:
            self.table.append(row)


class TermProgressBar:
    """One bar over the whole training: iterations done, time left, and the latest losses.

    Args:
        description: before the bar.
        terms: losses shown beside "loss".
        interval: iterations after which they are read anew.
    """

    def __init__(
        self,
        description: str = "training",
        terms: Sequence[str] = ("cycle_y", "segmentation_x", "structure"),
        interval: int = 10,
    ) -> None:
        self.description, self.terms, self.interval = description, ("loss", *terms), interval
        self.bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Open the bar at the start of the run, move it every iteration, close it at the end, by an error too."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._move)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.bar.close())
        getattr(engine, "at_end", []).append(self._close)

    def _open(self, engine: Engine) -> None:
        self.bar = tqdm(
            total=last_iteration(engine),
            initial=engine.state.iteration,
            desc=self.description,
            mininterval=1.0,
            disable=engine.state.rank != 0,
        )

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _move(self, engine: Engine) -> None:
        last = self.bar.n + 1 == self.bar.total
        if engine.state.iteration % self.interval == 0 or last:
            latest = engine.state.output
            self.bar.set_postfix({name: f"{latest[name]:.3f}" for name in self.terms if name in latest}, refresh=False)
        self.bar.update()
