"""The stages of an adaptation: a table, each with the command that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.adapt.refinement import REFINE, own_keys
from scripts.adapt.request import Request, absolute
from scripts.command.bundle import bundle_words
from scripts.judge.confidence import confidence_files
from scripts.volume_io import open_volume, short_name
from scripts.volume_io.physical import EQUAL
from scripts.volume_io.unit import apart

__all__ = ["COMMANDS", "STAGES", "Stage", "inference_words"]

COMMANDS = "commands.sh"
"""In the output folder: what a user would type for the same."""


@dataclass(frozen=True)
class Stage:
    """A part of the work that is done once.

    Attributes:
        name: as progress, `stages.json` and report.html call it.
        words: what follows `python`, in the bundle's folder; None where there is nothing to do for this request.
        results: files that are there when it is done.
        uses_labels: whether Y's labels, when they change, make it be done once more.
    """

    name: str
    words: Callable[[Request], list[str] | None]
    results: Callable[[Request], list[Path]]
    uses_labels: bool = False


def _plan(request: Request) -> list[str]:
    first = {"image_x": request.source[0]["image"], "label_x": request.source[0]["label"]}
    out = {"out": request.out / "plan.yaml", "picture": request.out / "plan.png"}
    scale = request.values["scale_x"]  # by which the match multiplies its factors
    seen_at = {"resolution": _listed(scale)} if isinstance(scale, list) else {}
    options = {name: _listed(value) for name, value in request.options.items()}
    return _flagged("scripts.match_domains", {**first, "image_y": request.images[0], **seen_at, **options, **out})


def _training(request: Request, **more: Any) -> list[str]:
    files = {"output_dir": request.out / "train", "model_path": _of_training(request)}
    best = {"train::warm_up_saver::path": request.out / "source_only.pt"}
    # Given again it resumes; of a training that is complete it writes the weights.
    overrides = {**_volumes(request), **files, **best, **request.overrides, **more, "resume": "auto"}
    return bundle_words("training", request.configs, overrides)


def _volumes(request: Request) -> dict[str, Any]:
    """Keys of train.yaml that name the volumes, and the voxel size that the model keeps."""
    return {
        "image_x": _several([item["image"] for item in request.source]),
        "label_x": _several([item["label"] for item in request.source]),
        "image_y": _several(request.images),
        **_voxel_size(request),
    }


def _of_training(request: Request) -> Path:
    """The weights that the stage CySGAN leaves."""
    return request.out / ("cysgan.pt" if request.rounds else "model.pt")


def _refinement(request: Request) -> list[str] | None:
    if not request.rounds:
        return None
    files = {"output_dir": request.out / "refine", "model_path": request.out / "model.pt"}
    others = {name: value for name, value in request.overrides.items() if name not in own_keys()}
    overrides = {**_volumes(request), **files, **others, **request.refinement, "start_from": _of_training(request)}
    return bundle_words("training", [*request.configs, REFINE], {**overrides, "resume": "auto"})


def _voxel_size(request: Request) -> dict[str, Any]:
    """What the model keeps as Y's voxel size where a flag states it: none where a file that inference reads differs."""
    if (given := request.options.get("voxel_size_y")) is None:
        return {}
    stated = [size for image in request.images if (size := open_volume(image).voxel_size) is not None]
    is_wrong = any(apart(size, given) > EQUAL for size in stated)
    return {"train::plan::voxel_size": "unknown" if is_wrong else [float(side) for side in given]}


def _source_only(request: Request) -> list[str] | None:
    """The same training up to the end of its warm-up; a length worked out from the whole is no mistake to the check."""
    length = request.values["warm_up_iterations"]
    alone = {"max_iterations": length, "warm_up_iterations": "@max_iterations", "keep": "last"}
    return _training(request, **alone) if length else None


def inference_words(images: Sequence[str], weights: Path, out: Path, labels: Sequence[str] | None = None) -> list[str]:
    """Return the command that segments volumes, and scores them where there are labels.

    Args:
        images: of Y.
        weights: file of the network; its plan says how the volumes are seen.
        out: folder of the results.
        labels: one for each image, to score against; metrics.json then has the scores.
    """
    files = {"image": _several(absolute(list(images))), "model_path": weights, "output_dir": out}
    if not labels:
        return bundle_words("run", ["inference"], files)
    return bundle_words("evaluating", ["inference", "evaluate"], {**files, "label": _several(absolute(list(labels)))})


def _instances(request: Request) -> list[str]:
    return inference_words(request.images, request.out / "model.pt", request.out, request.labels)


def _confidence(request: Request) -> list[str]:
    instances = [str(request.result(image, "instances")) for image in request.images]
    flags = {"image": _several(request.images), "instances": _several(instances)}
    model = request.out / "model.pt"
    return _flagged("scripts.judge.confidence", {**flags, "model": model, "output_dir": request.out})


def _table(request: Request) -> list[str]:
    flags = {"image": _several(request.images), "results": request.out, **_size_of_y(request)}
    return _flagged("scripts.adapt.table", {**flags, "out": request.out / "instances.csv"})


def _size_of_y(request: Request) -> dict[str, Any]:
    names = ("voxel_size", "expansion")
    return {name: _listed(request.options[f"{name}_y"]) for name in names if f"{name}_y" in request.options}


def _page(request: Request) -> list[str]:
    image = request.images[0]
    flags: dict[str, Any] = {
        "run": request.out / "train",
        "image": image,
        "instances": request.result(image, "instances"),
    }
    if request.labels:
        flags |= {"label_y": request.labels[0], "metrics": request.out / "metrics.json"}
    flags |= {"commands": request.out / COMMANDS, "title": f"CySGAN: {short_name(image)}"}
    flags |= {"table": request.out / "instances.csv", **_size_of_y(request)}
    return _flagged("scripts.report.html", {**flags, "out": request.out / "report.html"})


def _in_folder(*names: str) -> Callable[[Request], list[Path]]:
    return lambda request: [request.out / name for name in names]


def _of_each(request: Request) -> list[Path]:
    files = [request.result(image, kind) for image in request.images for kind in ("maps", "instances")]
    return [*files, *([request.out / "metrics.json"] if request.labels else [])]


def _of_confidence(request: Request) -> list[Path]:
    return [path for image in request.images for path in confidence_files(image, request.out)[:3]]


STAGES: Sequence[Stage] = (
    Stage("plan", _plan, _in_folder("plan.yaml", "plan.png")),
    Stage("source only", _source_only, _in_folder("source_only.pt")),
    Stage("CySGAN", _training, lambda request: [_of_training(request)]),
    Stage("refinement", _refinement, _in_folder("model.pt")),
    Stage("instances", _instances, _of_each, uses_labels=True),
    Stage("confidence", _confidence, _of_confidence),
    Stage("table", _table, _in_folder("instances.csv")),
    Stage("page", _page, _in_folder("report.html"), uses_labels=True),
)
"""In this order; each is done once all before it are."""


def _several(names: Sequence[str]) -> str | list[str]:
    """A list as a command line reads it, a single name as it is."""
    return list(names) if len(names) > 1 else names[0]


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _flagged(module: str, flags: dict[str, Any]) -> list[str]:
    """The words of one of our own commands."""
    return ["-m", module, *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]
