"""Loss terms as pure functions of logits and targets, all computed in float32 so that they are safe under autocast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "balance_weights",
    "dice_from_logits",
    "distance_mse",
    "weighted_bce_with_logits",
]


def balance_weights(target: Tensor, clip: float = 0.05) -> Tensor:
    """Voxel weights that let the rarer of the two classes count as much as the other.

    With f the fraction of positive voxels of a sample, clipped to [clip, 1 - clip], the minority class weighs
    max(f, 1 - f) / min(f, 1 - f) and the majority 1; a constant target weighs 1 everywhere
    (``weight_binary_ratio`` of PyTorch Connectomics).

    Args:
        target: 0 or 1, (B, C, Z, Y, X); all channels of a sample are weighed together.
        clip: smallest fraction told apart; 0.05 bounds the weights by 19.

    Returns:
        Weights, float32, (B, C, Z, Y, X).
    """
    positive = target > 0
    fraction = positive.float().mean(dim=tuple(range(1, target.ndim)), keepdim=True)
    constant = (fraction == 0) | (fraction == 1)
    share = fraction.clamp(clip, 1 - clip)
    ratio = torch.maximum(share, 1 - share) / torch.minimum(share, 1 - share)
    minority = positive == (share <= 0.5)
    return torch.where(minority & ~constant, ratio, torch.ones_like(ratio))


def weighted_bce_with_logits(logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Binary cross-entropy with :func:`balance_weights`, averaged over voxels.

    Args:
        logits: before the sigmoid, (B, C, Z, Y, X).
        target: 0 or 1, same shape.
        known: 1 where the target counts, 0 elsewhere, (B, 1, Z, Y, X); None: it counts everywhere.

    Returns:
        Scalar, float32.
    """
    target, logits = target.float(), logits.float()
    if known is None:
        return F.binary_cross_entropy_with_logits(logits, target, weight=balance_weights(target))
    weights = balance_weights(target) * known
    total = F.binary_cross_entropy_with_logits(logits, target, weight=weights, reduction="sum")
    return total / _counted(known, target)


def dice_from_logits(logits: Tensor, target: Tensor, smooth: float = 100.0, known: Tensor | None = None) -> Tensor:
    """Soft Dice loss of the sigmoid, 1 - (2 Σpt + smooth) / (Σp + Σt + smooth) per sample, averaged over the batch.

    Args:
        logits: before the sigmoid, (B, C, Z, Y, X).
        target: 0 or 1, same shape.
        smooth: keeps empty targets from a division by zero; in voxels.
        known: as for :func:`weighted_bce_with_logits`.

    Returns:
        Scalar, float32.
    """
    both = logits.float().sigmoid(), target.float()
    probability, truth = (each.flatten(1) if known is None else (each * known).flatten(1) for each in both)
    overlap = (probability * truth).sum(1)
    return (1 - (2 * overlap + smooth) / (probability.sum(1) + truth.sum(1) + smooth)).mean()


def distance_mse(logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Mean square difference between the tanh of the logits and a signed distance in [-1, 1].

    Args:
        logits: before the tanh, (B, C, Z, Y, X).
        target: signed distance, same shape.
        known: as for :func:`weighted_bce_with_logits`.

    Returns:
        Scalar, float32.
    """
    distance, target = logits.float().tanh(), target.float()
    if known is None:
        return F.mse_loss(distance, target)
    return (F.mse_loss(distance, target, reduction="none") * known).sum() / _counted(known, target)


def _counted(known: Tensor, target: Tensor) -> Tensor:
    """How many values of a target (B, C, Z, Y, X) count, at least 1."""
    return known.expand_as(target).sum().clamp(min=1)
