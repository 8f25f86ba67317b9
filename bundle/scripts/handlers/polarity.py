"""A watch on swapped classes, which no loss shows."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import torch
from ignite.engine import Engine, Events
from torch import Tensor

__all__ = ["PolarityWatch", "correlation"]

logger = logging.getLogger(__name__)


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
        self.seen: dict[str, list[Tensor]] = {}
        self.warned: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Look at every iteration of `engine`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take in one iteration and warn when a window is full and its mean is wrong."""
        panels = engine.state.panels
        if "fake_x" not in panels:
            return
        self.seen.setdefault("translation", []).append(_correlation(panels["y"][0], panels["fake_x"][0]))
        self.seen.setdefault("y", []).append(_correlation(panels["y"][0], panels["maps_y"][0]))
        self.seen.setdefault("x", []).append(_correlation(panels["x"][0], panels["maps_x"][0]))
        if len(self.seen["x"]) >= self.window:
            self._judge(engine, {name: float(torch.stack(values).nanmean()) for name, values in self.seen.items()})
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


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of two tensors of one shape; NaN where one is constant."""
    return float(_correlation(a, b))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """The same as a tensor: to read a number would make a GPU wait in every iteration."""
    a, b = (v.float().flatten() - v.float().mean() for v in (a, b))
    norm = a.norm() * b.norm()
    return torch.where(norm > 1e-6, a @ b / norm, math.nan)
