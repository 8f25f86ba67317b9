"""The random streams of a process."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["RandomState", "reseed"]


class RandomState:
    """The random streams of this process (python, numpy, torch, CUDA) as one part of a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return the streams as tensors and plain containers."""
        state: Any = np.random.get_state()  # numpy annotates both of its forms, this is the tuple
        _, keys, position, has_gauss, cached = state
        return {
            "python": list(random.getstate()[1]),
            "numpy": [torch.as_tensor(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the streams; CUDA's only where the number of devices is the same."""
        random.setstate((3, tuple(state["python"]), None))
        keys, *rest = state["numpy"]
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])


def reseed(rank: int) -> None:
    """Give another process streams of its own: the file holds those of rank 0, and both would draw the same patches."""
    seed = int(torch.randint(2**31, ())) + rank
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
