"""The check itself, and its command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.check.merge import Merged
from scripts.check.model import Modelled, modelled
from scripts.check.path import expand_paths, paths
from scripts.check.problem import Problem, closest, refuse
from scripts.check.rule import cross_rules, weights
from scripts.check.schema import config_schema, disagreements
from scripts.check.source import MARKS, Source, arranged, read_source, shipped
from scripts.check.start import start_problems
from scripts.check.value import Values
from scripts.check.volume import Volumes
from scripts.command.flag import flag
from scripts.errors import InputError

__all__ = ["Findings", "check", "check_config", "check_sources"]

RUN_IDS = (
    *("run", "training", "inference", "evaluating", "initialize", "finalize", "imports", "_meta_"),
    *("pre_transforms", "post_transforms"),
)
"""What MONAI's command, and MONAI Label, look up by themselves."""
TRACKING = ("tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0")
"""What `--tracking` adds, or takes from the command line."""
Files = str | Path | Sequence[str | Path]


class Findings(NamedTuple):
    """What was found.

    Attributes:
        problems: all of them.
        base: train or inference.
        values: of the configuration.
        shapes: (Z, Y, X) of each volume that was looked at.
        settings: keys that the plan of the model sets, with their values: a running workflow must be given them.
        model: the model with a plan, and what it was trained on.
    """

    problems: list[Problem]
    base: str
    values: Values
    shapes: dict[str, tuple[int, ...]]
    settings: Mapping[str, Any]
    model: str


def check(
    run_id: str | None = None,
    config_file: Files = (),
    tracking: str | None = None,
    volumes: bool | str = True,
    **overrides: Any,
) -> None:
    """Say all that is wrong with a configuration, or that nothing was found; nothing is run or written.

    Takes what `python -m monai.bundle run` takes.

    Args:
        run_id: what is to be run: training, inference, evaluating; by default what the base is for.
        config_file: files, the base first.
        tracking: as for `monai.bundle run`; its own keys are then known.
        volumes: whether the volumes are looked at: are they there, do they fit together, and are images and labels
            what they should be.
        **overrides: keys and values.

    Raises:
        InputError: there are problems; each is a line.
    """
    found = check_config(config_file, overrides, run_id, tracking, flag(volumes, "volumes"), content=True)
    refuse(found.problems)
    print(_summary(found))


def check_config(
    config_file: Files,
    overrides: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    tracking: Any = None,
    volumes: bool = True,
    content: bool = False,
) -> Findings:
    """Look at files and overrides before any work.

    Args:
        config_file: files, the base first; a text with commas is several.
        overrides: keys and values of the command line.
        run_id: what is to be run; None is not looked up.
        tracking: as for `monai.bundle run`.
        volumes: whether the volumes are looked at.
        content: whether their voxels are, too, as a run does by itself.

    Raises:
        InputError: no file is given, or one cannot be read.
    """
    sources = [read_source(path) for path in _listed(config_file)]
    if not sources:
        raise InputError("config_file: found none, expected files, such as configs/train.yaml, the base first.")
    kept, base, problems = arranged(sources)
    found = check_sources(kept, overrides or {}, base, run_id, TRACKING if tracking else (), volumes, content)
    return found._replace(problems=[*problems, *found.problems])


def check_sources(
    sources: Sequence[Source],
    overrides: Mapping[str, Any],
    base: str,
    run_id: str | None = None,
    more: tuple[str, ...] = (),
    volumes: bool = True,
    content: bool = False,
) -> Findings:
    """Merge a configuration, for inference with the plan of its model, and look at it.

    Args:
        sources: the base first; a configuration that is merged already is a base alone.
        overrides: keys and values of the command line.
        base: train or inference.
        run_id: what is to be run; None is not looked up.
        more: ids that are looked up from outside.
        volumes: whether the volumes are looked at.
        content: whether their voxels are.
    """
    found = modelled(sources, overrides) if base == "inference" else Modelled(Merged(sources, overrides))
    merged, expansions = found.merged, expand_paths(found.merged.config)
    own, other = shipped(base).content, shipped("inference" if base == "train" else "train").content
    values = Values(merged.config)
    opened = Volumes(merged, values, content)
    # Keys of the other base are harmless in an overlay on both, not on the command line.
    harmless = [key for key in other if not merged.given(key)]
    schema = config_schema(merged, own, {*RUN_IDS, *MARKS, *more, run_id or "", *harmless})
    problems = [
        *merged.problems,
        *found.problems,
        *(start_problems(merged, values) if base == "train" else ()),
        *expansions,
        *paths(merged.config),
        *_run_id(merged, run_id),
        *disagreements(merged, values, schema, own),
        *cross_rules(merged, values, own),
    ]
    if volumes:
        problems += [*(opened.training(own) if base == "train" else opened.inference())]
        problems += weights(merged, values, base)
    return Findings(problems, base, values, opened.shapes, found.settings, found.model)


def _run_id(merged: Merged, run_id: str | None) -> Iterator[Problem]:
    steps = merged.config.get(run_id or "")
    if run_id is not None and not (isinstance(steps, list) or str(steps).startswith("@")):
        known = [name for name in RUN_IDS[:4] if name in merged.config]
        yield Problem(
            "", "", f"run id: found {run_id}, expected one of {', '.join(known)}. {closest(run_id, known)}".rstrip()
        )


def _listed(files: Files) -> list[str]:
    if isinstance(files, str):
        return [name.strip(" '\"") for name in files.strip("[]() ").split(",") if name.strip()]
    return [str(files)] if isinstance(files, Path) else [str(name) for name in files]


def _summary(found: Findings) -> str:
    lines = [f"no problem found, on top of {found.base}.yaml"]
    if (maps := found.values.maps()) is not None:
        lines.append(f"  maps     {', '.join(maps[0])}")
    sizes = ("patch_size", "window") if found.base == "train" else ("window",)
    lines += [f"  {name.partition('_')[0]:<8} {found.values[name]}" for name in sizes]
    lines += [f"  model    {found.model}"] if found.model else []
    lines += [f"  volume   {name} {shape}" for name, shape in found.shapes.items()]
    return "\n".join(lines)
