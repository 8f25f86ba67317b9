"""The score of a candidate with its margin of error, and whether one candidate is better than another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "consistency", "difference", "estimate"]

DRAWS = 1000
INTERVAL = (5.0, 95.0)
"""Percentiles of the draws."""


@dataclass(frozen=True)
class Estimate:
    """A value and the interval that 90 % of the bootstrap draws lie in."""

    value: float
    low: float
    high: float


def consistency(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over the perturbations; 0 under a perturbation where neither segmentation has an instance.

    Args:
        counts: (..., T, P, 2), see `Repeated.counts`; tiles are summed up.

    Returns:
        (...).
    """
    again, both = np.moveaxis(counts.sum(axis=-3), -1, 0)
    return np.divide(again, both, out=np.zeros_like(again, dtype=float), where=both > 0).mean(axis=-1)


def estimate(counts: np.ndarray, seed: int = 0) -> Estimate:
    """Estimate the consistency of a candidate from the tiles of all crops, (T, P, 2)."""
    low, high = np.percentile(_drawn(counts, seed), INTERVAL)
    return Estimate(float(consistency(counts)), float(low), float(high))


def difference(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Estimate:
    """Estimate by how much the first candidate is steadier, on the same tiles (T, P, 2): the draws are paired."""
    low, high = np.percentile(_drawn(one, seed) - _drawn(other, seed), INTERVAL)
    return Estimate(float(consistency(one) - consistency(other)), float(low), float(high))


def _drawn(counts: np.ndarray, seed: int) -> np.ndarray:
    """Consistency of draws of tiles with replacement, (DRAWS,)."""
    which = np.random.default_rng(seed).integers(len(counts), size=(DRAWS, len(counts)))
    # As sums over how often each tile was drawn: the draws themselves would be as large as all tiles.
    often = np.stack([np.bincount(draw, minlength=len(counts)) for draw in which])
    return consistency(np.einsum("dt,tpk->dpk", often, counts)[:, None])
