"""When a training is validated."""

from __future__ import annotations

from typing import Any

from ignite.engine import Events
from monai.handlers import ValidationHandler
from scripts.trainer import last_iteration

__all__ = ["Validation"]


class Validation(ValidationHandler):
    """MONAI's validation every `interval` epochs, and once more at the end of training where that is at another epoch.

    Args:
        validator: the engine that validates.
        interval: epochs between validations.
    """

    def attach(self, engine: Any) -> None:
        """Validate at the ends of epochs of `engine`."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Any, epoch: int) -> bool:
        return epoch % self.interval == 0 or engine.state.iteration >= last_iteration(engine)
