"""The weights that a training starts from, compared with what it is to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.check.merge import Merged
from scripts.check.plan import contradictions
from scripts.check.problem import Problem
from scripts.check.value import Values
from scripts.errors import InputError
from scripts.plan import Plan

__all__ = ["start_problems"]

_ADVICE = "Give the overlays that it was trained with (target_….yaml, published.yaml, …), or another start_from."


def start_problems(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare the maps and the network of `start_from` with the training's, before any volume is read.

    Another scale, other grey values and other thicknesses of an outline can be learned, and pass. Files without a plan
    may name their maps, as version 0.4 wrote them.

    Args:
        merged: the configuration of a training.
        values: of it.
    """
    path = values["start_from"]
    if not isinstance(path, str) or not Path(path).expanduser().is_file():
        return
    from scripts.checkpoint.weights import check_maps  # these import torch
    from scripts.plan.weights import noted, plan_of_state, read_weights

    try:
        state = read_weights(Path(path).expanduser())
        own = Plan({} if (plan := plan_of_state(state, path)) is None else _architecture(plan.keys))
        yield from (problem._replace(advice=_ADVICE) for problem in contradictions(merged, own, path))
        if "representation" not in own.keys and (maps := values.maps()) is not None:
            check_maps(noted(state).get("map_names", ()), maps[0], path)
    except InputError as error:
        yield Problem("", "", str(error))


def _architecture(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The network of a plan, and its maps without the options that change no channel."""
    found = {key: keys[key] for key in ("network_def", "representation") if isinstance(keys.get(key), Mapping)}
    maps = found.get("representation", {}).get("maps")
    if isinstance(maps, list):
        kinds = [
            {name: one[name] for name in ("_target_", "offsets") if name in one} if isinstance(one, Mapping) else one
            for one in maps
        ]
        found["representation"] = {**found["representation"], "maps": kinds}
    return found
