"""Before any work: flags, configuration, volumes, the output folder, disk; each problem is a line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Any

from scripts.adapt.effort import effort_named
from scripts.adapt.refinement import of_refinement, refinement_values
from scripts.adapt.request import Request, absolute
from scripts.check import Findings, Problem, check_config, refuse
from scripts.check.overlay import overlay_files
from scripts.check.path import paths
from scripts.check.run import check_folder
from scripts.check.source import shipped
from scripts.command.bundle import BUNDLE, as_read
from scripts.dataset import volume_items
from scripts.errors import InputError
from scripts.judge.instance import BYTES, block_voxels
from scripts.match_domains.match import check_options
from scripts.match_domains.option import refuse_far_apart, unexpanded, voxel_size
from scripts.volume_io import check_results, open_volume
from scripts.volume_io.volume import available_bytes

__all__ = ["checked_request", "with_warm_up"]

_OWN = {
    "model_path": "--output_dir",
    "dataset_dir": "--image_x, --label_x and --image_y",
    "resume": "nothing: it resumes by itself",
    "bundle_root": "nothing",
}
"""Keys of train.yaml that the command sets, and what to give instead."""
_VALUES = ("iterations", "warm_up_iterations", "start_from", "scale_x", "scale_y", "patch_size", "batch_size", "window")
_BYTES = 9
"""On disk for each voxel of Y at most: four maps, instances of 4 bytes and their confidence, unpacked."""
_MEMORY = 34
"""Bytes for each voxel of a volume that inference takes at most, see docs/PERFORMANCE.md."""
_TRAINING_BYTES = 200_000_000
"""Checkpoints, logs and pictures of a training of the default network: 52 MB were measured near the end of 3,000
iterations, and one more checkpoint of 24 MB is there while it is written."""


def checked_request(
    volumes: Mapping[str, Any],
    output_dir: str,
    effort: str,
    config: str | Sequence[str],
    options: Mapping[str, Any],
    overrides: Mapping[str, Any],
    own: Sequence[str],
) -> Request:
    """Look at all that was asked for; nothing is written.

    Args:
        volumes: image_x, label_x, image_y and label_y.
        output_dir: folder of the results.
        effort: name in `EFFORTS`.
        config: overlays on train.yaml.
        options: flags of `scripts.match_domains`; None where not given.
        overrides: keys of train.yaml and of refine.yaml.
        own: flags of the command, for suggestions.

    Raises:
        InputError: the first thing that is wrong, or all that is wrong with the configuration and the volumes.
    """
    chosen, out = effort_named(effort), Path(output_dir).resolve()
    _check_flags(overrides, own)
    refuse([*paths({"output_dir": str(out)})])
    overlays = overlay_files(config, "train")
    refining = of_refinement({k: v for k, v in overrides.items() if v is not None})
    training = {k: v for k, v in overrides.items() if v is not None and k not in refining}
    given = with_warm_up(chosen.overlays, overlays, training)
    given.setdefault("start_from", None if chosen.start_from is None else str(BUNDLE / chosen.start_from))
    names = {key: absolute(name) for key, name in volumes.items() if name is not None}
    found = _checked_config(chosen.overlays, overlays, {**given, **names, "output_dir": str(out / "train")})
    values = {name: found.values[name] for name in _VALUES}
    _check_lengths(values)
    refining, lengths = refinement_values(chosen.overlays, overlays, refining, values["iterations"])
    given = {k: v for k, v in given.items() if v is not None}
    if values["start_from"] is not None:
        given["start_from"] = values["start_from"] = os.path.abspath(str(values["start_from"]))
    source = volume_items(names["image_x"], names["label_x"])
    target = volume_items(names["image_y"], names.get("label_y"))
    check_results([item["image"] for item in target], out)
    kept = {name: value for name, value in options.items() if value is not None}
    _check_voxel_sizes(source, target, kept)
    check_folder(out)
    request = Request(source, target, out, chosen, overlays, given, refining, kept, {**values, **lengths})
    _check_disk(request)
    _check_memory(request)
    return request


def _check_flags(overrides: Mapping[str, Any], own: Sequence[str]) -> None:
    known = shipped("train").content
    for name in overrides:
        if name in _OWN:
            raise InputError(f"--{name}: adapt sets this key by itself; give {_OWN[name]} instead.")
        if name not in known and (near := get_close_matches(name, own, n=1, cutoff=0.8)):
            raise InputError(
                f"found flag --{name}, expected one of adapt or a key of train.yaml. Did you mean --{near[0]}?"
            )


def _checked_config(effort: Sequence[str], overlays: Sequence[Path], given: Mapping[str, Any]) -> Findings:
    """Check the training's configuration, of which the plan is not there yet: sizes of patches are checked with it."""
    files = [BUNDLE / "configs" / f"{name}.yaml" for name in ("train", *effort)]
    found = check_config([*files, *overlays], as_read(given), "training", content=True)
    refuse([problem for problem in found.problems if not _is_about_size(problem)])
    return found


def _is_about_size(problem: Problem) -> bool:
    """Whether a patch is larger than a volume, at factors that the plan is still to choose."""
    return problem.key == "patch_size" and problem.expected.startswith("at most [")


def with_warm_up(effort: Sequence[str], overlays: Sequence[Path], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides in which the source-only part keeps its share, where the training's length alone was given.

    Args:
        effort: names of overlays in configs/.
        overlays: files.
        given: overrides of train.yaml.
    """
    iterations = as_read(given).get("max_iterations")
    if "warm_up_iterations" in given or not isinstance(iterations, int):
        return dict(given)
    files = [BUNDLE / "configs" / f"{name}.yaml" for name in ("train", *effort)]
    values = check_config([*files, *overlays], {}, volumes=False).values
    whole, warm_up = values["max_iterations"], values["warm_up_iterations"]
    if not (isinstance(whole, int) and isinstance(warm_up, int) and whole > 0):
        return dict(given)
    share = round(iterations * warm_up / whole)
    return {**given, "warm_up_iterations": max(share, 1) if warm_up else 0}


def _check_lengths(values: Mapping[str, Any]) -> None:
    whole, warm_up = values["iterations"], values["warm_up_iterations"]
    if not (isinstance(whole, int) and isinstance(warm_up, int) and 0 <= warm_up < whole):
        raise InputError(
            f"warm_up_iterations: found {warm_up}, expected fewer than max_iterations ({whole}): the source-only stage "
            "would leave none for CySGAN."
        )


def _check_voxel_sizes(
    source: Sequence[Mapping[str, str]], target: Sequence[Mapping[str, str]], options: Mapping[str, Any]
) -> None:
    """See that no volume of Y has voxels more than 20 times larger or smaller than the first of X, or of Y.

    Sizes that are left out are not compared.
    """
    check_options(diameter=options.get("diameter"))
    given = {name: voxel_size(options.get(name), name) for name in ("voxel_size_x", "voxel_size_y")}
    first, *others = source[0]["image"], *(item["image"] for item in target)
    sizes = [given["voxel_size_x"] or open_volume(first).voxel_size]
    expansion = options.get("expansion_y", 1.0)
    sizes += [unexpanded(given["voxel_size_y"] or open_volume(name).voxel_size, expansion) for name in others]
    if not options.get("by_voxel_size", True):
        return
    for name, size in zip(others, sizes[1:], strict=True):
        refuse_far_apart((sizes[0], size), [(first, "um"), (name, "um")])
        refuse_far_apart((sizes[1], size), [(others[0], "um"), (name, "um")])


def _check_disk(request: Request) -> None:
    """See that the results fit, those that are there already left out."""
    needed = _BYTES * sum(prod(open_volume(image).shape) for image in request.images) + _TRAINING_BYTES
    there = next(folder for folder in (request.out, *request.out.parents) if folder.exists())
    found = sum(path.stat().st_size for path in request.out.rglob("*") if path.is_file())
    if (free := shutil.disk_usage(there).free) < needed - found:
        raise InputError(
            f"{request.out}: results may take {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free. Free some space, or "
            "choose another output_dir."
        )


def _check_memory(request: Request) -> None:
    """See that the largest volume of Y can be segmented as a whole, and judged for its confidence block by block."""
    largest = max(request.images, key=lambda image: prod(open_volume(image).shape))
    shape, free = open_volume(largest).shape, available_bytes()
    needed = max(_MEMORY * prod(shape), BYTES * block_voxels(shape))
    if needed > free:
        raise InputError(
            f"{largest}: to segment it takes up to {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free. Give "
            "a part of it as image_y, and segment the whole block by block (docs/guides/LARGE_VOLUMES.md)."
        )
