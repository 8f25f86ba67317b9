"""What the networks were given when a value became no number, for a look at it."""

from __future__ import annotations

import logging
from pathlib import Path

from ignite.engine import Engine
from scripts.errors import InputError
from scripts.volume_io.replacement import write_npz
from torch import Tensor

__all__ = ["OffendingBatch"]

logger = logging.getLogger(__name__)


class OffendingBatch:
    """Writes the batch on which a loss or a gradient became NaN or infinite, before training stops.

    The file holds the volumes by name, float32, `iteration` and `message`; `numpy.load` reads it. Of several processes
    rank 0 writes `path`, each other one a file of its own beside it.

    Args:
        path: the file, .npz. One of an earlier training is replaced.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def attach(self, engine: Engine) -> None:
        """Write at the event `non_finite` of `engine`, a trainer."""
        engine.add_event_handler("non_finite", self)

    def __call__(self, engine: Engine) -> None:
        """Write the file; that it cannot be written is said, and hides the error before it from nobody."""
        found = engine.state.offending
        path = self.path if engine.state.rank == 0 else self.path.with_stem(f"{self.path.stem}_rank{engine.state.rank}")
        volumes = {k: v.detach().float().cpu().numpy() for k, v in found["batch"].items() if isinstance(v, Tensor)}
        try:
            write_npz(path, {"iteration": found["iteration"], "message": found["message"], **volumes})
        except InputError as error:
            logger.warning("the batch of iteration %d is not kept: %s", found["iteration"], error)
        else:
            logger.warning("%s: the batch of iteration %d, on which a value is no number", path, found["iteration"])
