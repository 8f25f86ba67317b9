"""The score of a candidate with its margin of error, and whether one candidate is better than another.

The score is the F1 between the instances and those under the perturbation that they survive least, times the root of
their certainty: 1 less the share of their volume that the foreground map is undecided about. `tools/judging.py`
compares it with labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scripts.judge.consistency import Repeated

__all__ = ["Estimate", "Measure", "Tally", "difference", "estimate", "found_again", "score"]

DRAWS = 1000
INTERVAL = (5.0, 95.0)
"""Percentiles of the draws."""


@dataclass(frozen=True)
class Estimate:
    """A value and the interval that 90 % of the bootstrap draws lie in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Tally:
    """What was counted in the tiles of all crops of a candidate.

    Attributes:
        counts: (..., T, P, 2), see `Repeated.counts`.
        certain: (..., T, 2), see `Repeated.certain`.
    """

    counts: np.ndarray
    certain: np.ndarray

    @classmethod
    def of(cls, crops: Sequence[Repeated]) -> Tally:
        """Put the tiles of crops together."""
        return cls(np.concatenate([one.counts for one in crops]), np.concatenate([one.certain for one in crops]))

    @property
    def f1(self) -> np.ndarray:
        """(..., P) F1 under each perturbation; 0 where neither segmentation has an instance."""
        return _ratio(self.counts.sum(axis=-3))

    @property
    def certainty(self) -> np.ndarray:
        """(...) from 0 to 1; 0 where nothing was found."""
        return _ratio(self.certain.sum(axis=-2)).clip(0, 1)

    @property
    def score(self) -> np.ndarray:
        """(...) lowest F1 times the root of certainty."""
        return self.f1.min(axis=-1) * np.sqrt(self.certainty)

    @property
    def again(self) -> np.ndarray:
        """(...) how many instances are found again, under the perturbation that leaves fewest."""
        return self.counts[..., 0].sum(axis=-2).min(axis=-1) / 2

    def drawn(self, often: np.ndarray) -> Tally:
        """Return the tiles, each multiplied by how often it was drawn, (D, T); one tile stands for all of a draw."""
        counts, certain = np.einsum("dt,tpk->dpk", often, self.counts), np.einsum("dt,tk->dk", often, self.certain)
        return Tally(counts[:, None], certain[:, None])


Measure = Callable[[Tally], np.ndarray]
"""What candidates are compared by."""


def score(tally: Tally) -> np.ndarray:
    """How steady and certain a model is: it ranks models."""
    return tally.score


def found_again(tally: Tally) -> np.ndarray:
    """How many instances are steady: it ranks decoders of one model, of which one that keeps few looks steady."""
    return tally.again


def estimate(tally: Tally, seed: int = 0, measure: Measure = score) -> Estimate:
    """Estimate the score of a candidate."""
    return _estimate(float(measure(tally)), _draws(tally, seed, measure))


def difference(one: Tally, other: Tally, seed: int = 0, measure: Measure = score) -> Estimate:
    """Estimate by how much the first candidate is better than the other one, on the same tiles: draws are paired."""
    draws = _draws(one, seed, measure) - _draws(other, seed, measure)
    return _estimate(float(measure(one) - measure(other)), draws)


def _estimate(value: float, draws: np.ndarray) -> Estimate:
    low, high = np.percentile(draws, INTERVAL)
    return Estimate(value, float(low), float(high))


def _draws(tally: Tally, seed: int, measure: Measure) -> np.ndarray:
    """Values of draws of tiles with replacement, (DRAWS,)."""
    tiles = len(tally.counts)
    which = np.random.default_rng(seed).integers(tiles, size=(DRAWS, tiles))
    return measure(tally.drawn(np.stack([np.bincount(draw, minlength=tiles) for draw in which])))


def _ratio(pairs: np.ndarray) -> np.ndarray:
    part, whole = np.moveaxis(pairs, -1, 0).astype(float)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
