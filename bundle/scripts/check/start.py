"""The weights that a training starts from, compared with what it is to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.check.merge import Merged
from scripts.check.plan import contradictions
from scripts.check.problem import Problem, shown
from scripts.check.tree import child
from scripts.check.value import UNKNOWN, Values
from scripts.errors import InputError
from scripts.plan import Plan

__all__ = ["start_problems"]

_REFINEMENT = "scripts.refine.RefineTrainer"
_OF_Y = ("scale", "intensity_percentiles", "intensity_gamma")
_GIVE = "Give --start_from outputs/train/model.pt, for example."
_ADVICE = "Give the overlays that it was trained with (target_….yaml, published.yaml, …), or another start_from."


def start_problems(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare the maps and the network of `start_from` with the training's, before any volume is read.

    Another scale, other grey values and other thicknesses of an outline can be learned, and pass. Only a refinement,
    which begins with the instances that the model finds, needs Y as the model knows it, and it needs a model. Files
    without a plan may name their maps, as version 0.4 wrote them.

    Args:
        merged: the configuration of a training.
        values: of it.
    """
    path, refines = values["start_from"], child(merged.config, "train::trainer::_target_") == _REFINEMENT
    if refines and path is None:
        yield Problem(
            merged.place("start_from"), "start_from", "none", "the weights of a trained model to refine", _GIVE
        )
    if not isinstance(path, str) or not Path(path).expanduser().is_file():
        return
    from scripts.checkpoint.weights import check_maps  # these import torch
    from scripts.plan.weights import noted, plan_of_state, read_weights

    try:
        state = read_weights(Path(path).expanduser())
        keys = {} if (plan := plan_of_state(state, path)) is None else plan.keys
        own = Plan(_architecture(keys))
        yield from (problem._replace(advice=_ADVICE) for problem in contradictions(merged, own, path))
        if "representation" not in own.keys and (maps := values.maps()) is not None:
            check_maps(noted(state).get("map_names", ()), maps[0], path)
        if refines:
            yield from _of_y(merged, values, keys, path)
    except InputError as error:
        yield Problem("", "", str(error))


def _of_y(merged: Merged, values: Values, keys: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """How Y is seen, where the model's plan has it otherwise."""
    for name in (name for name in _OF_Y if name in keys):
        here = values[f"{name}_y"]
        if here is not UNKNOWN and here != keys[name]:
            expected = f"{shown(keys[name])}, with which {path} was trained"
            yield Problem(merged.place(f"{name}_y"), f"{name}_y", shown(here), expected, _ADVICE)


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
