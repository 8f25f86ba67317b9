"""The running average of a network's weights, which is what training leaves."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events
from ignite.handlers import EMAHandler
from scripts.trainer import STAGE_STARTED
from torch import nn

__all__ = ["RunningAverage"]


class RunningAverage(EMAHandler):
    """ignite's running average, with a start that forgets the random weights.

    The n-th update has the momentum max(`momentum`, 1 / n): the average is the plain mean of all weights until that is
    slower than `momentum`. It starts afresh where the trainer's second stage begins, whose networks are others. The
    count of updates belongs to a checkpoint, beside the weights of `ema_model`; a checkpoint without one counts every
    iteration before it.

    Args:
        model: what is averaged; the bare network where it is wrapped for several processes.
        momentum: share of the newest weights in the end.
    """

    def __init__(self, model: nn.Module, momentum: float = 0.002) -> None:
        super().__init__(model, momentum=momentum)
        self.updates: int | None = None

    def attach(self, engine: Any, name: str = "ema_momentum", **options: Any) -> None:
        """Update `ema_model` after every iteration of `engine`; the momentum is `engine.state.ema_momentum`."""
        engine.add_event_handler(Events.STARTED, self._count_earlier)
        engine.add_event_handler(STAGE_STARTED, self._restart)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._set_momentum, name)
        super().attach(engine, name, **options)

    def state_dict(self) -> dict[str, int]:
        """Return the count of updates; the weights are those of `ema_model`."""
        return {"updates": self.updates or 0}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take the count of updates."""
        self.updates = int(state["updates"])

    def _count_earlier(self, engine: Any) -> None:
        if self.updates is None:
            self.updates = engine.state.iteration

    def _restart(self) -> None:
        self.updates = 0

    def _set_momentum(self, engine: Any, name: str) -> None:
        self.updates = (self.updates or 0) + 1
        setattr(engine.state, name, max(self.momentum, 1 / self.updates))
