"""The order of the files: one base, first; then overlays, each on a base that it is made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.check.problem import Problem
from scripts.check.source import BASES, Source, base_of, shipped
from scripts.check.tree import normal

__all__ = ["arranged"]


def arranged(sources: Sequence[Source]) -> tuple[list[Source], str, list[Problem]]:
    """Return the files as they should be given, the name of their base, and what is wrong with their order.

    The check goes on with files in the right order, so that the rest is told at once. Later files win, so a base that
    comes late undoes the overlays before it, without a word from MONAI.
    """
    bases = [source for source in sources if base_of(source.content)]
    overlays = [source for source in sources if not base_of(source.content)]
    problems = [_two(bases[0], other) for other in bases[1:]]
    if bases:
        base = str(base_of(bases[0].content))
        if sources[0] is not bases[0]:
            problems.append(_late(bases[0], sources[0]))
    else:
        base = _guessed(overlays)
        found = ", ".join(source.name for source in sources)
        problems.append(
            Problem("", "", f"config_file: found {found}, expected configs/{base}.yaml before: overlays alone.")
        )
    kept = [bases[0] if bases else shipped(base)]
    for overlay in overlays:
        wrong = [] if base in _made_for(overlay, base) else [_wrong(overlay, base)]
        problems += wrong
        kept += [] if wrong else [overlay]
    return kept, base, problems


def _made_for(overlay: Source, base: str) -> tuple[str, ...]:
    """The bases an overlay can be laid over: those that `overlay_on` lists, or those that have one of its keys."""
    if overlay.overlay_on:
        return overlay.overlay_on
    roots = {normal(key.lstrip("+")).split("::")[0] for key in overlay.content}
    fitting = tuple(name for name in BASES if roots & shipped(name).content.keys())
    return fitting or (base,)


def _guessed(overlays: Sequence[Source]) -> str:
    """The base that most of the overlays are made for."""
    made = [_made_for(overlay, "train") for overlay in overlays]
    return max(BASES, key=lambda name: sum(name in one for one in made))


def _two(first: Source, other: Source) -> Problem:
    found = f"config_file: found {first.name} and {other.name}, expected one base"
    return Problem("", "", f"{found}: train.yaml for training, inference.yaml for all else.")


def _late(base: Source, first: Source) -> Problem:
    found = f"config_file: found {base.name} after {first.name}, expected it first"
    return Problem("", "", f"{found}: what comes later wins, and it sets every key.")


def _wrong(overlay: Source, base: str) -> Problem:
    made = " or ".join(f"{name}.yaml" for name in _made_for(overlay, base))
    found = f"config_file: found {Path(overlay.name).name} on {base}.yaml, expected it on {made}"
    advice = f"Leave it out, or give configs/{made.partition(' ')[0]} instead of {base}.yaml."
    return Problem("", "", f"{found}: it does nothing here, or breaks it. {advice}")
