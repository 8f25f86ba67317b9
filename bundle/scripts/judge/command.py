"""The command that judges models on a volume without labels; `__main__.py` starts it.

Example::

    python -m scripts.judge --image Y.tif --models source_only.pt,model.pt --instances other.tif --out judge.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from scripts.command.address import expanded
from scripts.errors import InputError
from scripts.judge.candidate import Judgement, VolumeCrops, judge_model
from scripts.judge.choice import Choice, choose
from scripts.judge.consistency import predictor_of
from scripts.judge.crop import COUNT
from scripts.judge.given import judge_instances, line_of_given, listed_instances
from scripts.judge.picture import draw_candidates
from scripts.judge.volume import labelled_solidity, scale_of, volume_crops
from scripts.predictor import Predictor
from scripts.volume_io import list_volumes, open_volume
from scripts.volume_io.paths import check_place
from scripts.volume_io.replacement import write_text

__all__ = ["judge_files"]


def judge_files(
    image: str | Sequence[str],
    models: str | Sequence[str] = (),
    out: str = "judge.json",
    crops: int = COUNT,
    size: Sequence[int] | None = None,
    instances: str | Sequence[str] = (),
    picture: str | None = None,
    label_x: str | Sequence[str] = (),
) -> None:
    """Score models on crops of a volume without labels, say what speaks against each, and choose one.

    The first model stays chosen unless another one is better by more than the margin of error, so name the model of the
    source alone first. Four predictions are made of each crop.

    Memory: 40 bytes per voxel of a crop, and about 400 MB; volumes are read part by part.

    Args:
        image: unlabelled volumes: a file (TIFF, HDF5, NIfTI, Zarr), a pattern or a list.
        models: files of weights, each with its plan: a,b,c.
        out: JSON to write, with all figures.
        crops: looked at in each volume.
        size: of a crop, z,y,x in voxels; by default 64,192,192, or less where a model enlarges the volume.
        instances: files of instances that other programs made. They are not scored; vetoes, counts and agreement with
            the models are reported. Of several volumes all files of one program come first, then all files of the next.
        picture: PNG to write, of the candidates side by side where they disagree most; by default `out` with the
            extension .png.
        label_x: instances of X. A candidate whose instances are far less solid is vetoed. Sizes are not compared,
            because X and Y may have other voxels.

    Raises:
        InputError: a model or a volume is not as expected, or a file cannot be written; before any work.
    """
    names, files, images = _listed(models), _listed(instances), list_volumes(_listed(image))
    groups = listed_instances(files, images) if files else []
    _check_names([*names, *(group[0] for group in groups)])
    predictors = [fitting(name, images) for name in names]
    target = Path(expanded(out))
    drawing = Path(expanded(picture)) if picture else target.with_suffix(".png")
    check_place(target)
    check_place(drawing)
    expected = labelled_solidity(_listed(label_x))
    volumes = [volume_crops(name, size, crops, predictors) for name in images]
    given = [judge_instances(group, volumes, expected) for group in groups]
    judgements = []
    for predictor in predictors:
        judgements.append(judge_model(predictor, volumes, expected=expected))
        print(line_of(judgements[-1]), flush=True)
    found = facts(volumes, judgements, choose(judgements) if judgements else None)
    found["candidates"] += [one.facts(judgements) for one in given]
    for candidate in found["candidates"][len(judgements) :]:
        print(line_of_given(candidate))
    print(f"chosen: {found['chosen'] or 'none'}: {found['reason']}")
    of_all = {one.name: one.crops for one in judgements} | {one.name: one.crops for one in given}
    draw_candidates(drawing, volumes, of_all)
    write_text(target, json.dumps(found, indent=1) + "\n")
    print(f"wrote {target} and {drawing}")


def _listed(names: str | Sequence[str]) -> list[str]:
    """Names of files, from a list or from a text with commas; a comma may be part of the name of one file."""
    parts = names if not isinstance(names, str) else [names] if Path(names).exists() else names.split(",")
    return [expanded(part.strip()) for part in parts if part.strip()]


def _check_names(names: Sequence[str]) -> None:
    """See that there is something to judge, each by a name of its own.

    Raises:
        InputError: there is none, or one is named twice.
    """
    if not names:
        raise InputError("--models: found none, expected the names of one or more files of weights, or --instances.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{twice[0]}: named twice, expected each candidate once. Leave one out.")


def fitting(name: str, images: Sequence[str]) -> Predictor:
    """Return a model that can be applied to all volumes; all are made before the first one is judged.

    Raises:
        InputError: weights that do not fit, or voxels more than 20 times as large as training's.
    """
    predictor = predictor_of(name)
    for image in images:
        with closing(open_volume(image)) as volume:
            scale_of(predictor, volume)
    return predictor


def line_of(one: Judgement) -> str:
    """A candidate in one line: score, interval, counts and vetoes."""
    found = one.facts()
    text = (
        f"{one.name}: score {one.score.value:.3f} ({one.score.low:.3f} to {one.score.high:.3f}), "
        f"{found['instances']} instances, {100 * found['foreground_share']:.0f} % foreground"
    )
    return text + "".join(f"; VETO: {veto}" for veto in one.vetoes)


def facts(volumes: Sequence[VolumeCrops], judgements: Sequence[Judgement], choice: Choice | None) -> dict[str, Any]:
    """What judge.json holds; without a choice there was no model to choose."""
    return {
        "volumes": [
            {"image": one.image, "crops": [[[side.start, side.stop] for side in box] for box in one.boxes]}
            for one in volumes
        ],
        "candidates": [one.facts() for one in judgements],
        "chosen": judgements[choice.number].name if choice else None,
        "reason": choice.reason if choice else "no model was given, and instances alone have no score",
    }
