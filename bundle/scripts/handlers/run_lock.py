"""One training at a time writes to an output folder and to a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.distributed as dist

from scripts.lock import Lock

__all__ = ["RunLock"]


class RunLock:
    """Refuses a second training into the same `output_dir` or `model_path`, until the first one has ended.

    Of several processes rank 0 has the locks. A training that is killed gives them back.

    Args:
        output_dir: folder of the checkpoints.
        model_path: file of the weights.
    """

    def __init__(self, output_dir: str, model_path: str) -> None:
        model = Path(model_path)
        self.locks = [
            Lock(Path(output_dir) / ".training.lock", output_dir, reentrant=True),
            Lock(model.with_name(f".{model.name}.lock"), model_path, reentrant=True),
        ]

    def take(self) -> None:
        """Take the locks, before any work.

        Raises:
            InputError: another training has one of them; it is named.
        """
        if not (dist.is_available() and dist.is_initialized() and dist.get_rank() > 0):
            for lock in self.locks:
                lock.take()

    def attach(self, engine: Any) -> None:
        """Have the locks until a run of `engine` ends."""
        self.take()
        engine.at_end.append(self._give_back)

    def _give_back(self) -> None:
        for lock in self.locks:
            lock.give_back()
