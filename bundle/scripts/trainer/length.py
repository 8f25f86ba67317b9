"""How long a training is."""

from __future__ import annotations

from typing import Any

__all__ = ["last_iteration"]


def last_iteration(engine: Any) -> int:
    """Return the number of the iteration with which a training ends.

    Args:
        engine: an ignite engine. Its `state.max_iterations`, where it has one, may end it within its last epoch.
    """
    epochs = engine.state.max_epochs * engine.state.epoch_length
    return min(epochs, getattr(engine.state, "max_iterations", None) or epochs)
