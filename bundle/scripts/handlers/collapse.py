"""A watch on what goes wrong in adversarial trainings while the losses look as usual."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from scripts.errors import InputError
from scripts.handlers.statistic import training_statistics
from scripts.handlers.table import GrowingTable

__all__ = ["CollapseWatch"]

logger = logging.getLogger(__name__)

_NAMES = {"fake_x": "Y's translated image", "fake_y": "X's translated image", "x": "X", "y": "Y"}
_TEXTS: dict[tuple[str, str], str] = {
    ("discriminator", "low"): (
        "{name} has been right about nearly everything over {count} iterations (loss {mean:.3f}, undecided is 0.5): "
        "the generators learn little from it. Lower discriminator_learning_rate, or stop if the loss stays there."
    ),
    ("discriminator", "high"): (
        "{name} has been wrong over {count} iterations (loss {mean:.2f}, undecided is 0.5): it is not learning. Raise "
        "discriminator_learning_rate, or lower learning_rate."
    ),
    ("contrast", "low"): (
        "{what} is almost constant over {count} iterations: its contrast is {mean:.2f} of a real image's. Lower "
        "learning_rate, or warm up longer; go on from a checkpoint of before."
    ),
    ("contrast", "high"): (
        "{what} is saturated over {count} iterations: its contrast is {mean:.1f} times a real image's. Lower "
        "learning_rate, or warm up longer; go on from a checkpoint of before."
    ),
    ("copied", "high"): (
        "{what} is a copy of its input over {count} iterations (correlation {mean:.3f}): nothing is translated. Give "
        "loss_weights::adversarial_x and adversarial_y more weight, or identity less, unless both domains look alike."
    ),
    ("checkerboard", "high"): (
        "{what} has a checkerboard over {count} iterations: at a period of 2 or 4 voxels its spectrum stands out "
        "{mean:.0f} times as far as a real image's. Lower learning_rate, or lower the weight of the adversarial terms."
    ),
    ("foreground", "low"): (
        "{what}'s foreground map is empty over {count} iterations (share {mean:.4f}). Warm up longer, let "
        "foreground_share span what Y may hold, and look at the intensity range; fine if objects are that rare."
    ),
    ("foreground", "high"): (
        "{what}'s foreground map is full over {count} iterations (share {mean:.2f}). Warm up longer, and let "
        "foreground_share span what Y may hold."
    ),
    ("lost", "high"): (
        "{mean:.0%} of Y's nuclei are missing from the maps of its translation over {count} iterations: translation "
        "removes them. Raise loss_weights::structure, or loss_weights::correlation."
    ),
    ("invented", "high"): (
        "{mean:.0%} of the nuclei in the maps of Y's translation are not in Y's own over {count} iterations: "
        "translation invents them. Raise loss_weights::structure, or loss_weights::correlation."
    ),
}


class CollapseWatch:
    """Says in words, once for each cause, what goes wrong.

    Every `interval` iterations of the adversarial stage it takes `scripts.handlers.training_statistics`; the verdict
    is on their mean over the last `window` looks. Nothing is judged before `patience` looks: generators that come from
    the warm-up begin with a copy, discriminators with a guess. Of several processes rank 0 alone looks, at its own
    patches. A resumed training begins to count anew; its table goes on.

    Memory: the step's panels once more, on the CPU.

    Args:
        interval: iterations between looks.
        window: looks averaged.
        patience: looks at the adversarial stage before the first verdict, `window` at least.
        limits: changes to `LIMITS`, by statistic, [lowest, highest]; null for no limit.
        path: CSV file of all looks, null for none.

    Raises:
        InputError: a limit is for no statistic.
    """

    LIMITS: Mapping[str, tuple[float | None, float | None]] = {
        "discriminator": (0.02, 0.9),
        "contrast": (0.2, 1.6),
        "copied": (None, 0.99),
        "checkerboard": (None, 8.0),
        "foreground": (0.001, 0.9),
        "lost": (None, 0.6),
        "invented": (None, 0.6),
    }

    def __init__(
        self,
        interval: int = 10,
        window: int = 20,
        patience: int = 20,
        limits: Mapping[str, tuple[float | None, float | None]] | None = None,
        path: str | None = None,
    ) -> None:
        if unknown := sorted(set(limits or {}) - set(self.LIMITS)):
            raise InputError(f"limits: {', '.join(unknown)}; expected some of {', '.join(self.LIMITS)}.")
        self.interval, self.window, self.patience = interval, window, max(window, patience)
        self.limits = {**self.LIMITS, **(limits or {})}
        self.table = GrowingTable(Path(path)) if path else None
        self.recent: deque[dict[str, float]] = deque(maxlen=window)
        self.looks, self.warned = 0, set[str]()

    def attach(self, engine: Engine) -> None:
        """Look every `interval` iterations of `engine`."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    def _begin(self, engine: Engine) -> None:
        if self.table and engine.state.rank == 0:
            self.table.begin(engine.state.iteration)

    def __call__(self, engine: Engine) -> None:
        """Take in one iteration and warn of what is wrong."""
        if engine.state.rank != 0 or "y" not in engine.state.panels:
            return
        row = training_statistics(engine.state.output, engine.state.panels)
        if self.table:
            self.table.append({"iteration": engine.state.iteration, **row})
        for text in self.take(row):
            logger.warning("iteration %d: %s", engine.state.iteration, text)

    def take(self, row: Mapping[str, float]) -> list[str]:
        """Take in the statistics of one look and return what there is to warn of for the first time."""
        self.recent.append(dict(row))
        self.looks += 1
        if self.looks < self.patience:
            return []
        new = {name: text for name, text in self._verdicts() if name not in self.warned}
        self.warned.update(new)
        return list(new.values())

    def _verdicts(self) -> Iterable[tuple[str, str]]:
        for name in dict.fromkeys(name for row in self.recent for name in row):
            low, high = self.limits[name.split("_")[0]]
            values = [row[name] for row in self.recent if not math.isnan(row.get(name, math.nan))]
            # One look in two must have something to tell: a patch may be empty, and a stage has just begun.
            if len(values) * 2 < self.window:
                continue
            mean = float(np.mean(values))
            if low is not None and mean < low:
                yield name, self._text(name, "low", mean)
            elif high is not None and mean > high:
                yield name, self._text(name, "high", mean)

    def _text(self, name: str, side: str, mean: float) -> str:
        kind, _, what = name.partition("_")
        return _TEXTS[kind, side].format(
            what=_NAMES.get(what, what), name=name, mean=mean, count=self.window * self.interval
        )
