"""The training's data loader: its workers start, fail and end as `scripts.command.worker` has it."""

from __future__ import annotations

import multiprocessing
from typing import Any

import torch
from monai.data import DataLoader
from scripts.command.worker import WorkerStart
from scripts.dataset.sampler import EndlessSampler
from torch.utils.data import default_collate

__all__ = ["TrainingLoader", "whole_volumes"]


class TrainingLoader(DataLoader):
    """MONAI's loader, whose workers leave signals to the training and end when it ends.

    It has a generator of its own: torch's is the training's, which should be where it was when a training is resumed.

    Args:
        dataset: yields the items.
        num_workers: processes that make them; 0 makes them in this one.
        endless: counts the items through the whole training (`EndlessSampler`), so that a resumed one gets what comes
            next.
        **options: of `monai.data.DataLoader`.
    """

    def __init__(self, dataset: Any, num_workers: int = 0, endless: bool = False, **options: Any) -> None:
        options.setdefault("generator", torch.Generator())
        if endless:
            options["sampler"] = EndlessSampler(len(dataset), options.get("batch_size", 1))
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


def whole_volumes(dataset: Any, num_workers: int = 0, generator: torch.Generator | None = None) -> DataLoader:
    """Make the loader of whole volumes, one at a time.

    Args:
        dataset: yields the volumes.
        num_workers: processes that read them; 0 reads them in this one.
        generator: gives workers their seeds; None takes these from torch's own.
    """
    start = WorkerStart(ends_by_sigterm=True)
    return DataLoader(dataset, num_workers, batch_size=1, worker_init_fn=start, generator=generator)
