"""History of generated volumes shown to a discriminator (Shrivastava et al., CVPR 2017; used by CycleGAN)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["ImagePool"]


class ImagePool:
    """Store of past generated samples: a discriminator is trained on a mixture of old and new ones.

    Until it is full, every sample is stored and returned. Then, by an even coin for each sample, either the new one is
    returned, or a random stored one, which the new one replaces.

    Args:
        capacity: samples kept (the method: 20 x batch size); 0 returns every sample as it came.
        dtype: precision they are kept in. Images and maps lie in [-1, 1], where half precision is as fine as 1/2048,
            a sixteenth of a grey value of a byte.

    Memory: `capacity` samples, on the device they came from (after a resume: the CPU). To move them off a GPU would
    make it wait every iteration.
    """

    def __init__(self, capacity: int = 40, dtype: torch.dtype = torch.float16) -> None:
        self.capacity, self.dtype = capacity, dtype
        self.samples: list[Tensor] = []

    def __call__(self, batch: Tensor) -> Tensor:
        """Return a batch (B, C, Z, Y, X) drawn from `batch` and the history, without gradient."""
        return torch.stack([self._exchange(sample) for sample in batch.detach()])

    def _exchange(self, sample: Tensor) -> Tensor:
        if len(self.samples) < self.capacity:
            self.samples.append(sample.to(self.dtype, copy=True))
            return sample
        if self.capacity == 0 or torch.rand(()) < 0.5:
            return sample
        index = int(torch.randint(self.capacity, ()))
        old, self.samples[index] = self.samples[index], sample.to(self.dtype, copy=True)
        return old.to(sample)  # precision, and device: a checkpoint brings samples back on the CPU

    def state_dict(self) -> dict[str, Any]:
        """Return the samples as a list of tensors, so that a checkpoint loads with `weights_only=True`."""
        return {"samples": list(self.samples)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the samples of `state_dict`; a smaller capacity keeps the newest."""
        self.samples = list(state["samples"])[-self.capacity :] if self.capacity else []
