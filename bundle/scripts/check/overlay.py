"""Configurations for our own commands: a base of this bundle, with overlays and overrides upon it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from scripts.check.merge import Merged
from scripts.check.plan import contradictions, merged_with
from scripts.check.problem import refuse
from scripts.check.source import read_source
from scripts.command.bundle import BUNDLE, listed
from scripts.errors import InputError
from scripts.plan import Plan

__all__ = ["configuration", "overlay_files"]


def overlay_files(config: str | Sequence[str], base: str) -> list[Path]:
    """Return the files of overlays, the base left out where it was named.

    Args:
        config: their names, as `listed` takes them.
        base: "train" or "inference".

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    paths = [Path(name) for name in listed(config)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"config: no file {', '.join(missing)}; expected overlays on {base}.yaml, with commas between."
        )
    for path in paths:
        read_source(path)  # whose errors name file and line; MONAI's do not
    return [path.resolve() for path in paths if path.resolve() != _base_file(base)]


def configuration(
    base: str,
    overlays: Sequence[Path],
    overrides: Mapping[str, Any] | None = None,
    plan: Plan | None = None,
    model: str | os.PathLike[str] = "the model",
) -> ConfigParser:
    """Return a base of this bundle with overlays and overrides upon it, to take ids from.

    Args:
        base: "train" or "inference".
        overlays: files.
        overrides: keys and values; a key's parts may be joined by # or ::.
        plan: of a model, which `scripts.plan.file.read_plan` reads; goes over inference.yaml, under the overlays.
        model: its file, for messages.

    Raises:
        InputError: a key leads nowhere, an overlay undoes another one, or a value contradicts the plan.
    """
    given = {name: "$None" if value is None else value for name, value in (overrides or {}).items()}
    sources = [read_source(path) for path in (_base_file(base), *overlays)]
    values = {"bundle_root": str(BUNDLE), **given}
    if plan is None:
        merged = Merged(sources, values)
        refuse(merged.problems)
    else:
        merged = merged_with(plan, str(model), sources, values)
        refuse([*merged.problems, *contradictions(merged, plan, str(model))])
    return ConfigParser(merged.config)


def _base_file(base: str) -> Path:
    return BUNDLE / "configs" / f"{base}.yaml"
