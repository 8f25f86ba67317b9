"""Which candidate to trust: the first one stays unless another is better by more than the margin of error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.judge.candidate import Judgement
from scripts.judge.estimate import Measure, difference, score

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """The candidate to trust, as its number, and why, in words."""

    number: int
    reason: str


def choose(judgements: Sequence[Judgement], measure: Measure = score, words: str = "score") -> Choice:
    """Choose a candidate. All must have been judged on the same crops.

    The first stays, unless another one is better by more than the margin of error: the 90 % interval of the difference
    lies above 0. A vetoed first one gives way as well to another that is not worse by more than that. No other that is
    vetoed is chosen. Of several the one with the highest score is chosen.

    Args:
        judgements: the one to fall back to first, usually the source alone.
        measure: what they are compared by.
        words: what it is called.
    """
    first, *others = judgements
    gains = {
        n: difference(one.tally, first.tally, measure=measure) for n, one in enumerate(others, 1) if not one.vetoes
    }
    fit = [n for n, gain in gains.items() if gain.low > 0 or (first.vetoes and gain.high > 0)]
    if not fit:
        return Choice(0, _stays(first, len(gains) < len(others), bool(gains)))
    best = max(fit, key=lambda number: float(measure(judgements[number].tally)))
    gain = gains[best]
    interval = f"{gain.value:.3g} ({gain.low:.3g} to {gain.high:.3g})"
    if gain.low > 0:
        return Choice(best, f"its {words} is higher than the one of {first.name} by {interval}")
    return Choice(best, f"{first.name} is vetoed ({first.vetoes[0]}), and its {words} differs by {interval}")


def _stays(first: Judgement, vetoed: bool, rivals: bool) -> str:
    """Why the first candidate stays."""
    if not (vetoed or rivals):
        return "it is the only one"
    why = "no other is better by more than the margin of error" if rivals else "every other one is vetoed"
    return f"{why}, although it is vetoed: {first.vetoes[0]}" if first.vetoes else why
