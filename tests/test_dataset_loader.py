"""The training's data loader: its workers end when it ends."""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any

from scripts.dataset.loader import TrainingLoader
from torch.utils.data import Dataset


class Endless(Dataset):
    """The second item never comes."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return signal.pause() if index else index


def test_a_busy_worker_ends_though_it_ignores_sigterm() -> None:
    loader = TrainingLoader(Endless(), num_workers=1)
    next(iter(loader))
    loader.end()
    assert multiprocessing.active_children() == []
