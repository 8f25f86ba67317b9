"""The command that leads from two volumes to instances, stage by stage; `__main__.py` starts it.

Example::

    python -m scripts.adapt --image_x D/imageX.tif --label_x D/labelX.tif --image_y D/imageY.tif --output_dir out
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.adapt.memory import PeakMemory
from scripts.adapt.preflight import checked_request
from scripts.adapt.progress import TimeLeft, span
from scripts.adapt.record import Record
from scripts.adapt.request import Request, Volumes
from scripts.adapt.result import RESULT, read_result, refinement_text, start_text, write_result
from scripts.adapt.settings import check_settings, read_settings, write_settings
from scripts.adapt.stage import COMMANDS, STAGES, Stage
from scripts.command.bundle import BUNDLE, run_words
from scripts.command.flag import flag
from scripts.command.lock import Lock
from scripts.volume_io.replacement import write_text

__all__ = ["adapt_files"]

Sizes = Sequence[float] | None


def adapt_files(
    image_x: Volumes,
    label_x: Volumes,
    image_y: Volumes,
    output_dir: str = "outputs/adapt",
    label_y: Volumes | None = None,
    effort: str = "quick",
    config: str | Sequence[str] = (),
    expansion_y: float | None = None,
    voxel_size_x: Sizes = None,
    voxel_size_y: Sizes = None,
    diameter: float | None = None,
    by_voxel_size: bool | str = True,
    **overrides: Any,
) -> dict[str, Any]:
    """Train on labelled volumes X and unlabelled volumes Y, and find the instances in Y.

    Stages are check, plan, source only, CySGAN, refinement, instances, confidence, table and page. Stopped or killed,
    the same command resumes where it was. Written are plan.yaml and plan.png, source_only.pt, cysgan.pt, model.pt,
    maps, instances and confidence of each Y, instances.csv, report.html (of the first Y), result.json with all figures,
    and commands.sh, which does the same stage by stage. cysgan.pt is the source alone, unless CySGAN is better on Y
    without labels by more than the margin of error (`--keep last` for CySGAN in any case). model.pt is refined from
    it, where enough of its instances can be trusted (`--rounds 0` for no refinement).

    Args:
        image_x: labelled source X: a file (TIFF, HDF5, NIfTI, Zarr), a pattern or a list.
        label_x: instances of X, in the same order.
        image_y: unlabelled target Y.
        output_dir: folder for all results.
        label_y: instances of Y, if there are some. They only score.
        effort: quick (half an hour on two cores), standard (three hours), published (the paper's setting, for a GPU).
        config: overlays of your own on train.yaml.
        expansion_y: how many times larger the sample of Y was made.
        voxel_size_x: voxel size of X (z,y,x) in micrometres, if the file has none or a wrong one.
        voxel_size_y: the same for Y.
        diameter: bring objects of both to this many voxels in the plane.
        by_voxel_size: false measures Y's objects in the image, where voxel sizes are wrong.
        **overrides: keys of train.yaml and refine.yaml, such as `--max_iterations 20` for a quick look.

    Returns:
        What result.json holds.

    Raises:
        InputError: something is not as expected, before any work; or one of the commands failed.
        StoppedError: Ctrl-C or SIGTERM came.
    """
    volumes = {"image_x": image_x, "label_x": label_x, "image_y": image_y, "label_y": label_y}
    options: dict[str, Any] = {"expansion_y": expansion_y, "voxel_size_x": voxel_size_x, "voxel_size_y": voxel_size_y}
    options |= {"diameter": diameter, "by_voxel_size": None if flag(by_voxel_size, "by_voxel_size") else False}
    own = list(inspect.signature(adapt_files).parameters)[:-1]
    request = checked_request(volumes, output_dir, effort, config, options, overrides, own)
    settings = request.settings(effort)
    check_settings(request.out, settings, _written(request))
    with Lock(request.out / ".adapt.lock", request.out):
        labels_changed = read_settings(request.out).get("label_y", settings["label_y"]) != settings["label_y"]
        return _run(request, effort, labels_changed)


def _run(request: Request, effort: str, labels_changed: bool) -> dict[str, Any]:
    """Do what is not done yet."""
    record, commands = Record(request.out), _commands(request)
    stages = [stage for stage in STAGES if stage.name in commands]
    if to_do := _to_do(request, stages, record, labels_changed):
        record.undo(to_do)
        (request.out / RESULT).unlink(missing_ok=True)
    write_settings(request.out, request.settings(effort))  # only now: of other labels than what was undone
    write_text(request.out / COMMANDS, _script(commands))
    _say(f"== check: no problem found; {_described(request, effort)}")
    _do_all(request, stages, record)
    result = read_result(request) or write_result(request, effort, record, {k: _line(w) for k, w in commands.items()})
    _say(_summary(request, result))
    return result


def _do_all(request: Request, stages: Sequence[Stage], record: Record) -> None:
    """Do the stages that are not done."""
    memory = PeakMemory()
    left = TimeLeft(request, [stage.name for stage in stages if not record.done(stage.name)])
    for number, stage in enumerate(stages, 1):
        title = f"== {number}/{len(stages)} {stage.name}"
        if record.done(stage.name):
            _say(f"{title}: finished earlier")
            continue
        seconds = left.seconds()
        _say(title if seconds is None else f"{title} ({span(seconds)} left for the whole)")
        _do(stage, request, record, left, memory)
        left.finished(stage.name)


def _do(stage: Stage, request: Request, record: Record, left: TimeLeft, memory: PeakMemory) -> None:
    ended = left.watch(stage.name)
    try:
        with record.stage(stage.name, lambda: memory.megabytes):
            run_words(stage.words(request) or [])
    finally:
        ended.set()


def _commands(request: Request) -> dict[str, list[str]]:
    """The words of each stage that there is."""
    found = {stage.name: stage.words(request) for stage in STAGES}
    return {name: words for name, words in found.items() if words is not None}


def _to_do(request: Request, stages: Sequence[Stage], record: Record, labels_changed: bool) -> list[str]:
    """The stages from the first on that is not done, whose results are gone, or that used other labels of Y.

    The training writes source_only.pt on its way and cannot once it has passed that: it is not missed then.
    """
    for number, stage in enumerate(stages):
        is_passed = stage.name == "source only" and record.done("CySGAN")
        is_there = is_passed or all(path.exists() for path in stage.results(request))
        if not record.done(stage.name) or not is_there or (labels_changed and stage.uses_labels):
            return [later.name for later in stages[number:]]
    return []


def _written(request: Request) -> list[str]:
    """Names of all that a run leaves in its folder: what is there without settings is of another command."""
    files = [path.name for stage in STAGES for path in stage.results(request)]
    return [RESULT, "train", "refine", *files, COMMANDS]


def _described(request: Request, effort: str) -> str:
    iterations, warm_up = request.values["iterations"], request.values["warm_up_iterations"]
    start = start_text(request.start_from)
    about = f", {request.effort.about}" if "max_iterations" not in request.overrides else ""
    return f"effort {effort}{about}: {iterations} iterations, {warm_up} of them on the source alone, from {start}"


def _script(commands: Mapping[str, Sequence[str]]) -> str:
    lines = [
        "#!/bin/sh",
        "# What `python -m scripts.adapt` does here, stage by stage.",
        "set -e",
        f"cd {shlex.quote(str(BUNDLE))}",
    ]
    for name, words in commands.items():
        lines += ["", f"# {name}", _line(words)]
    return "\n".join(lines) + "\n"


def _line(words: Sequence[str]) -> str:
    """A command as it is typed in the bundle's folder."""
    return " ".join(map(_quoted, ["python", *words]))


def _quoted(word: str) -> str:
    """As the shell wants it; lists of names in single quotes stay readable."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)


def _summary(request: Request, result: Mapping[str, Any]) -> str:
    lines = [f"{volume['instances']} instances in {volume['image']}" for volume in result["volumes"]]
    if not all(volume["instances"] for volume in result["volumes"]):
        lines.append("Nothing was found: look at plan.png and at the training on the page; it may have been too short.")
    if (scores := result["scores"]) is not None:
        lines.append(f"scores: AP-50 {scores['ap50']:.3f}, AP-75 {scores['ap75']:.3f}, F1-50 {scores['f1_50']:.3f}")
    if (judged := result.get("judged")) is not None:
        lines.append(f"after CySGAN, chosen without labels: {judged['chosen']}: {judged['reason']}")
    if rounds := result.get("refined"):
        lines.append(refinement_text(rounds))
    lines.append(f"{result['minutes']:.1f} minutes, at most {result['peak_memory_mb']} MB of memory")
    return "\n".join(
        ["", *lines, f"table: {request.out / 'instances.csv'}", f"report, for a browser: {request.out / 'report.html'}"]
    )


def _say(text: str) -> None:
    print(text, flush=True)
