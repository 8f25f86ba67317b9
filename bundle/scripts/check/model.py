"""The model that a configuration names: its plan is merged, compared, and what is used of it is reported."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.check.merge import Merged
from scripts.check.path import expand_paths
from scripts.check.plan import contradictions, given_scale, is_exported, laid_keys, merged_with, used_plan
from scripts.check.problem import Problem, shown
from scripts.check.source import Source
from scripts.check.value import UNKNOWN, Values
from scripts.errors import InputError
from scripts.plan import FIXED, MAY_DIFFER, Plan

__all__ = ["Modelled", "modelled"]

logger = logging.getLogger(__name__)
_TOLD = ("scale", "intensity_percentiles", "intensity_gamma", "window")


class Modelled(NamedTuple):
    """A configuration of inference with the plan of its model.

    Attributes:
        merged: base, plan, overlays, command line.
        problems: a plan that cannot be read, and values that contradict it.
        settings: keys that the plan sets, with their values after merging: what a running workflow must be given.
        model: the file, and what its plan says of the training; nothing without a plan.
    """

    merged: Merged
    problems: Sequence[Problem] = ()
    settings: Mapping[str, Any] = {}
    model: str = ""


def modelled(sources: Sequence[Source], overrides: Mapping[str, Any]) -> Modelled:
    """Merge a configuration of inference with the plan that its `model_path` carries.

    A model that is not there, or no file of weights, is left to what looks at weights. One without a plan is a warning:
    the configuration's values are used.

    Args:
        sources: as for `Merged`, the base first.
        overrides: of the command line.
    """
    merged = Merged(sources, overrides)
    if (model := _model_path(merged.config)) is None:
        return Modelled(merged)
    from scripts.plan.file import read_plan  # imports torch

    try:
        plan = read_plan(model)
    except InputError as error:
        return Modelled(merged, [Problem("", "", str(error))])
    if plan is None:
        _warn_of_none(merged, model)
        return Modelled(merged, settings={"plan": used_plan(merged.config, None).to_text()})
    merged = merged_with(plan, model, sources, overrides)
    problems = list(contradictions(merged, plan, model))
    _warn_of_lacking(merged, plan, model)
    settings = _settings(merged, plan, model)
    merged.config.update(settings)
    return Modelled(merged, problems, settings, f"{model}, {_trained_on(plan)}")


def _model_path(config: Mapping[str, Any]) -> str | None:
    """The file of the model, where there is one."""
    known = {key: config[key] for key in config if key != "_meta_"}
    expand_paths(known)
    path = Values(known)["model_path"]
    path = _evaluated(known) if path is UNKNOWN and "model_path" in known else path
    return path if isinstance(path, str) and Path(path).is_file() else None


def _evaluated(config: Mapping[str, Any]) -> Any:
    """What an expression gives that is more than arithmetic, such as one that reads the environment."""
    from monai.bundle import ConfigParser

    try:
        return ConfigParser(dict(config)).get_parsed_content("model_path")
    except Exception:  # whatever it is, the run itself says it
        return None


def _settings(merged: Merged, plan: Plan, model: str) -> dict[str, Any]:
    """What the plan sets, after merging. A scale that was given is for the volume as it is, whatever its voxel size."""
    config, place = merged.config, given_scale(merged, plan, model)
    found = {key: config[key] for key in laid_keys(plan, config)}
    if place is not None:
        known = f"the plan of {model} has {shown(plan.keys['scale'])}"
        _warn(f"scale: {shown(config['scale'])} is used ({place}), whatever the voxel size; {known}.")
        found["training_voxel_size"] = None
    found["plan"] = used_plan(config, plan).to_text()
    return {key: value for key, value in found.items() if key in config}


def _warn_of_lacking(merged: Merged, plan: Plan, model: str) -> None:
    lacking = [key for key in (*FIXED, *MAY_DIFFER) if key in merged.config and key not in plan.keys]
    if is_exported(merged.config) and "network_def" in lacking:
        lacking.remove("network_def")  # the file is the network
    if lacking:
        _warn(f"{model}: its plan lacks {', '.join(lacking)}; the configuration's values are used for these.")


def _warn_of_none(merged: Merged, model: str) -> None:
    values = Values(merged.config)
    used = ", ".join(f"{key} {shown(values[key])}" for key in _TOLD if values[key] is not UNKNOWN)
    _warn(f"{model}: carries no plan of how Y was seen; the configuration's values are used: {used}.")


def _warn(message: str) -> None:
    """Log a warning, of several processes in the first one alone."""
    if os.environ.get("RANK", "0") == "0":
        logger.warning("%s", message)


def _trained_on(plan: Plan) -> str:
    """Version and volumes of a plan, in a line; its facts are anybody's, and may be of any kind."""
    volumes = plan.trained_on.get("image_y")
    listed = volumes if isinstance(volumes, list) else []
    names = dict.fromkeys(str(one["name"]) for one in listed if isinstance(one, Mapping) and "name" in one)
    return f"plan of version {plan.version or 'unknown'}{', trained on ' if names else ''}{', '.join(list(names)[:3])}"
