"""Which keys belong to the refinement, and how long it is beside the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from scripts.check import check_config, refuse
from scripts.check.source import read_source, shipped
from scripts.command.bundle import BUNDLE, as_read

__all__ = ["REFINE", "VALUES", "of_refinement", "own_keys", "refinement_values"]

REFINE = "refine"
"""Overlay on train.yaml."""
VALUES = ("rounds", "round_iterations")
"""Keys that say how long a refinement is."""


@cache
def own_keys() -> frozenset[str]:
    """Return the keys that a user gives for the training and that the refinement has for itself."""
    return _set_keys() | {"start_from"}


@cache
def _set_keys() -> frozenset[str]:
    """Keys at the top of refine.yaml."""
    return frozenset(name.lstrip("+") for name in read_source(BUNDLE / "configs" / f"{REFINE}.yaml").content)


def of_refinement(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides whose keys refine.yaml alone has, such as `rounds` and `cleaning::iou`."""
    added = _set_keys() - set(shipped("train").content)
    return {name: value for name, value in overrides.items() if name.partition("::")[0] in added}


def refinement_values(
    effort: Sequence[str], overlays: Sequence[Path], given: Mapping[str, Any], iterations: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the overrides of the refinement, its rounds as short as the training is, and the values of `VALUES`.

    Args:
        effort: names of overlays in configs/.
        overlays: files of the user.
        given: what `of_refinement` returned.
        iterations: of the training.

    Raises:
        InputError: a value is not possible.
    """
    if _is_none(given.get("rounds")):
        return {}, dict.fromkeys(VALUES, 0)
    base = [BUNDLE / "configs" / f"{name}.yaml" for name in ("train", *effort)]
    usual = check_config(base, {}, volumes=False).values["max_iterations"]
    found = check_config([*base, *overlays, BUNDLE / "configs" / f"{REFINE}.yaml"], as_read(given), volumes=False)
    refuse([problem for problem in found.problems if problem.key != "start_from"])
    values, overrides = {name: found.values[name] for name in VALUES}, dict(given)
    if "round_iterations" not in given and isinstance(iterations, int) and iterations < usual:
        values["round_iterations"] = max(1, round(values["round_iterations"] * iterations / usual))
        overrides["round_iterations"] = values["round_iterations"]
    return overrides, values


def _is_none(rounds: Any) -> bool:
    """Whether no refinement is asked for: 0 rounds, which training alone would reject."""
    return rounds is not None and as_read({"rounds": rounds})["rounds"] in (0, False)
