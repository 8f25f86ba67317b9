"""What the trainer asks: finite values, translations that follow their input, a share of foreground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["NonFiniteLossError", "anticorrelation", "check_finite", "outside"]


class NonFiniteLossError(RuntimeError):
    """A loss term or a gradient became NaN or infinite; `iteration` is where."""

    iteration: int = 0


def check_finite(terms: Mapping[str, Tensor], iteration: int) -> None:
    """Raise `NonFiniteLossError` naming every term that is NaN or infinite, and the iteration."""
    values = torch.stack([value.detach().float() for value in terms.values()])
    if bool(torch.isfinite(values).all()):
        return
    bad = ", ".join(f"{name} = {value.item()}" for name, value in terms.items() if not torch.isfinite(value))
    error = NonFiniteLossError(
        f"iteration {iteration}: {bad}. Training stops, and the last checkpoint is kept, from before it. "
        "Lower the learning rate or switch mixed precision off, then go on with --resume."
    )
    error.iteration = iteration
    raise error


def anticorrelation(translated: Tensor, original: Tensor, margin: float = 0.0) -> Tensor:
    """Penalty on a translation that does not follow its input: max(0, margin - r), the mean over the samples.

    r is the Pearson correlation of each sample after averaging over 2 x 2 x 2 voxels, so that noise, which a
    translation need not keep, counts less.

    Args:
        translated: (B, C, Z, Y, X).
        original: the same shape.
        margin: the correlation asked for. 0 forbids inversion alone; above 0, what is bright must be so in both
            domains, which also forbids objects where the input shows none.

    Returns:
        Scalar in [0, 1 + margin], 0 where every sample is correlated by `margin` or more.
    """
    coarse = (F.avg_pool3d(v.float(), 2, ceil_mode=True).flatten(1) for v in (translated, original))
    a, b = (v - v.mean(1, keepdim=True) for v in coarse)
    r = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)
    return torch.relu(margin - r).mean()


def outside(volumes: Tensor, interval: Sequence[float]) -> Tensor:
    """Return how far the mean of all voxels of a batch lies outside [lowest, highest]: a scalar, 0 within.

    The mean of a batch and not of a sample: a patch may well be empty, or full.
    """
    lowest, highest = interval
    mean = volumes.float().mean()
    return torch.relu(lowest - mean) + torch.relu(mean - highest)
