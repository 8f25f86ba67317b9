"""The command that chooses the thresholds of a model's decoder without labels: ``python -m scripts.judge.threshold``.

Example::

    python -m scripts.judge.threshold --image Y.tif --model model.pt --out thresholds.pt
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.checkpoint.weights import noted_state, save_atomically
from scripts.command.address import expanded
from scripts.command.start import start
from scripts.errors import InputError
from scripts.judge.choice import choose
from scripts.judge.command import fitting, line_of
from scripts.judge.crop import COUNT
from scripts.judge.estimate import found_again
from scripts.judge.setting import OWN, judge_decoders, variants
from scripts.judge.volume import labelled_solidity, volume_crops
from scripts.predictor import Predictor
from scripts.volume_io import list_volumes
from scripts.volume_io.paths import check_place
from scripts.watershed.choice import decoder_of, definition_of

__all__ = ["choose_thresholds"]


def choose_thresholds(
    image: str | Sequence[str],
    model: str,
    out: str = "thresholds.pt",
    crops: int = COUNT,
    size: Sequence[int] | None = None,
    label_x: str | Sequence[str] = (),
) -> None:
    """Choose the thresholds at which a model's maps become instances: those with most instances that are found again.

    Maps of crops are predicted once as they are and once under each change of `scripts.judge`, and decoded with
    thresholds around the model's own. Where others find more instances again, by more than the margin of error,
    `out` gets a copy of the model whose plan has them: inference, blocks, confidence and the label server use them with
    this file. Otherwise nothing is written.

    Memory: 50 bytes per voxel of a crop, 4 more for each setting and voxel of all crops, and about 400 MB.

    Args:
        image: unlabelled volumes: a file (TIFF, HDF5, NIfTI, Zarr), a pattern or a list.
        model: the weights, with a plan.
        out: file of weights to write.
        crops: looked at in each volume.
        size: of a crop, z,y,x in voxels; by default 64,192,192, or less where the model enlarges the volume.
        label_x: instances of X. Settings whose instances are far less solid are vetoed.

    Raises:
        InputError: the model or a volume is not as expected, or the file cannot be written; before any work.
    """
    model, target, images = expanded(model), Path(expanded(out)), list_volumes(image)
    check_place(target)
    if target.resolve() in (Path(name).resolve() for name in (model, *images)):
        raise InputError(f"--out: {target} is read as well and would be replaced. Give the name of another file.")
    predictor = fitting(model, images)
    decoders = variants(_decoder(predictor))
    expected = labelled_solidity(label_x)
    volumes = [volume_crops(name, size, crops, [predictor]) for name in images]
    judgements = judge_decoders(predictor, volumes, decoders, expected)
    for one in sorted(judgements, key=lambda one: -one.tally.again):
        print(f"{one.tally.again:.1f} found again by {line_of(one)}")
    choice = choose(judgements, found_again, "number of instances found again")
    if choice.number == 0:
        print(f"{model} keeps its thresholds: {choice.reason}. Nothing is written.")
        return
    chosen = decoders[judgements[choice.number].name]
    _write(model, predictor, chosen, target)
    print(f"wrote {target}, with {_flags(chosen, decoders[OWN])}: {choice.reason}")


def _decoder(predictor: Predictor) -> Any:
    """The decoder of a model, every option named.

    Raises:
        InputError: it is of another package.
    """
    if (definition := definition_of(predictor.part("decoder"))) is None:
        raise InputError(f"{predictor.name}: found a decoder of another package, expected one of scripts.watershed.")
    return decoder_of(definition)


def _flags(chosen: Any, own: Any) -> str:
    """What differs, as flags of `scripts.watershed`."""
    return " ".join(f"--{name} {value:g}" for name, value in chosen.options.items() if value != own.options[name])


def _write(model: str, predictor: Predictor, decoder: Any, target: Path) -> None:
    """Write a copy of the weights, with the decoder in their plan."""
    plan = Predictor.of(model, {}, {}).plan  # without what the judge changes
    keys = {**plan.keys, "decoder": definition_of(decoder)}
    names = predictor.part("representation").names
    save_atomically(noted_state(predictor.network, names, replace(plan, keys=keys)), target)


if __name__ == "__main__":
    start(choose_thresholds)
