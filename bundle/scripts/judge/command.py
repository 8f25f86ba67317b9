"""The command that judges models on a volume without labels; `__main__.py` starts it.

Example::

    python -m scripts.judge --image Y.tif --models source_only.pt,model.pt --out judge.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.check.array import check_image
from scripts.command.address import expanded
from scripts.errors import InputError
from scripts.judge.candidate import Judgement, VolumeCrops, judge_model
from scripts.judge.choice import Choice, choose
from scripts.judge.crop import COUNT, SIZE, chosen_crops
from scripts.judge.evidence import whole_image
from scripts.plan.file import read_plan
from scripts.volume_io import list_volumes
from scripts.volume_io.files import load
from scripts.volume_io.paths import check_place
from scripts.volume_io.replacement import write_text

__all__ = ["judge_files"]


def judge_files(
    image: str | Sequence[str],
    models: str | Sequence[str],
    out: str = "judge.json",
    crops: int = COUNT,
    size: Sequence[int] = SIZE,
) -> None:
    """Score models on crops of a volume without labels, say what speaks against each, and choose one.

    The first model stays chosen unless another one is better by more than the margin of error, so name the model of the
    source alone first. Seven predictions are made of each crop.

    Memory: 8 bytes per voxel of one whole volume, and 40 per voxel of a crop.

    Args:
        image: unlabelled volumes: a file (TIFF, HDF5, NIfTI, Zarr), a pattern or a list.
        models: files of weights, each with its plan: a,b,c.
        out: JSON to write, with all figures.
        crops: looked at in each volume.
        size: of a crop, z,y,x in voxels.

    Raises:
        InputError: a model or a volume is not as expected, or `out` cannot be written; before any work.
    """
    names = _listed(models)
    for name in names:
        read_plan(name)
    target = Path(expanded(out))
    check_place(target)
    volumes = [volume_crops(name, size, crops) for name in list_volumes(image)]
    judgements = []
    for name in names:
        judgements.append(judge_model(name, volumes))
        print(line_of(judgements[-1]), flush=True)
    choice = choose(judgements)
    print(f"chosen: {judgements[choice.number].name}: {choice.reason}")
    write_text(target, json.dumps(facts(volumes, judgements, choice), indent=1) + "\n")
    print(f"wrote {target}")


def _listed(models: str | Sequence[str]) -> list[str]:
    """Names of files, from a list or from a text with commas; a comma may be part of the name of one file."""
    parts = models if not isinstance(models, str) else [models] if Path(models).exists() else models.split(",")
    if not (names := [expanded(part) for part in parts if part]):
        raise InputError("--models: found none, expected the names of one or more files of weights.")
    return names


def volume_crops(image: str, size: Sequence[int] = SIZE, count: int = COUNT) -> VolumeCrops:
    """Choose the crops of a volume, and look at them.

    Memory: the volume as it is stored, and 4 bytes per voxel of the crops.

    Raises:
        InputError: the file is not as expected.
    """
    array = load(image).array
    check_image(array, image)
    boxes = chosen_crops(array, size, count)
    return VolumeCrops(image, boxes, whole_image(array, boxes))


def line_of(one: Judgement) -> str:
    """A candidate in one line: score, interval, counts and vetoes."""
    found = one.facts()
    text = (
        f"{one.name}: score {one.score.value:.3f} ({one.score.low:.3f} to {one.score.high:.3f}), "
        f"{found['instances']} instances, {100 * found['foreground_share']:.0f} % foreground"
    )
    return text + "".join(f"; VETO: {veto}" for veto in one.vetoes)


def facts(volumes: Sequence[VolumeCrops], judgements: Sequence[Judgement], choice: Choice) -> dict[str, Any]:
    """What judge.json holds."""
    return {
        "volumes": [
            {"image": one.image, "crops": [[[side.start, side.stop] for side in box] for box in one.boxes]}
            for one in volumes
        ],
        "candidates": [one.facts() for one in judgements],
        "chosen": judgements[choice.number].name,
        "reason": choice.reason,
    }
