"""Which candidate to trust: the first one stays unless another is better by more than the margin of error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.judge.candidate import Judgement
from scripts.judge.estimate import difference

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """The candidate to trust, as its number, and why, in words."""

    number: int
    reason: str


def choose(judgements: Sequence[Judgement]) -> Choice:
    """Choose a candidate. All must have been judged on the same crops.

    Vetoed candidates are left out while there is another. Of the others the first stays, unless one with a higher
    score differs from it by more than the margin of error: the 90 % interval of the difference lies above 0. Of several
    such the one with the highest score is chosen.

    Args:
        judgements: the one to fall back to first, usually the source alone.
    """
    fit = [number for number, one in enumerate(judgements) if not one.vetoes]
    if not fit:
        return Choice(0, f"every candidate is vetoed, so the first one stays: {judgements[0].vetoes[0]}")
    first, *others = fit
    better = [n for n in others if difference(judgements[n].tally, judgements[first].tally).low > 0]
    if better:
        best = max(better, key=lambda number: judgements[number].score.value)
        gain = difference(judgements[best].tally, judgements[first].tally)
        return Choice(
            best,
            f"its score is higher than that of {judgements[first].name} by {gain.value:.3f} "
            f"({gain.low:.3f} to {gain.high:.3f})",
        )
    if first:
        return Choice(first, f"{judgements[0].name} is vetoed: {judgements[0].vetoes[0]}")
    alone = "it is the only one that is not vetoed" if others == [] and len(judgements) > 1 else "it is the only one"
    return Choice(0, "no other is better by more than the margin of error" if others else alone)
