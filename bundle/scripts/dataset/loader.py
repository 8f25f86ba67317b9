"""The training's data loader: its workers start, fail and end as `scripts.command.worker` has it."""

from __future__ import annotations

import multiprocessing
from typing import Any

from monai.data import DataLoader
from scripts.command.worker import WorkerStart
from torch.utils.data import default_collate

__all__ = ["TrainingLoader"]


class TrainingLoader(DataLoader):
    """MONAI's loader, whose workers leave signals to the training and end when it ends.

    Args:
        dataset: yields the items.
        num_workers: processes that make them; 0 makes them in this one.
        **options: of `monai.data.DataLoader`.
    """

    def __init__(self, dataset: Any, num_workers: int = 0, **options: Any) -> None:
        # torch's own collation: MONAI's logs a critical line for every tensor when one cannot be collated
        super().__init__(dataset, num_workers, worker_init_fn=WorkerStart(), collate_fn=default_collate, **options)
        self.latest: Any = None
        self.workers: set[Any] = set()

    def __iter__(self) -> Any:
        """Start a pass."""
        others = set(multiprocessing.active_children())
        try:
            self.latest = super().__iter__()
        finally:  # a worker may die, and PyTorch raise, before all are started
            self.workers = set(multiprocessing.active_children()) - others
            worker: Any
            for worker in self.workers:
                worker.terminate = worker.kill  # PyTorch asks workers to end, then terminates them; they ignore SIGTERM
        return self.latest

    def end(self) -> None:
        """End the workers of the latest pass; the trainer calls this when a run ends, by an error too.

        Python would wait for them for ever at its end: an exception's traceback keeps the pass, and so them, alive.
        """
        if (shut_down := getattr(self.latest, "_shutdown_workers", None)) is not None:
            shut_down()
        for worker in self.workers:
            worker.kill()
            worker.join()
        self.latest, self.workers = None, set()
