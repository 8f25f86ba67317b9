"""One training at a time writes to an output folder and to a file of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from scripts.command.lock import Lock

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
        """Take the locks before any work, in folders that exist: bad input must not leave a new one behind.

        Raises:
            InputError: another training has one of them; it is named.
        """
        self._take([lock for lock in self.locks if lock.path.parent.is_dir()])

    def attach(self, engine: Any) -> None:
        """Take the locks that are left, and keep all until a run of `engine` ends."""
        self._take(self.locks)
        engine.at_end.append(self._give_back)

    def _take(self, locks: Sequence[Lock]) -> None:
        if not (dist.is_available() and dist.is_initialized() and dist.get_rank() > 0):
            for lock in locks:
                lock.take()

    def _give_back(self) -> None:
        for lock in self.locks:
            lock.give_back()
