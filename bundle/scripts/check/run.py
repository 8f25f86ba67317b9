"""Before any work: are the inputs there, can the outputs be written; and bad input told in one message."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.check.array import check_image, check_label
from scripts.check.pairing import check_roles, check_training_roles
from scripts.check.rule import misfit
from scripts.checkpoint import is_auto, list_checkpoints, load_weights
from scripts.command.flag import flag
from scripts.dataset import volume_items
from scripts.errors import InputError
from scripts.volume_io import check_results, check_writable, list_volumes, open_volume, read_label, read_volume
from scripts.volume_io.physical import physical_scale
from torch import nn

__all__ = ["check_decoder", "check_folder", "check_inference", "check_training"]

Volumes = str | Sequence[str]
Items = str | Sequence[str | Mapping[str, Any]]


def check_training(
    image_x: Items,
    label_x: Volumes | None,
    image_y: Volumes,
    output_dir: str,
    model_path: str,
    label_y: Volumes | None = None,
    resume: bool | str = False,
    representation: Any = None,
    decoder: Any = None,
    validation: Items = (),
) -> None:
    """See that a training can start. The volumes are looked up, not read; nothing is created.

    Args:
        image_x: files of the source, a pattern or a list; or the items of the dataset, whose labels are then theirs.
        label_x: their labels.
        image_y: files of the target.
        output_dir: folder of the checkpoints and logs.
        model_path: file of the weights.
        label_y: labels of the target, for validation.
        resume: whether `output_dir` is to hold a checkpoint; "auto": it may.
        representation: the maps to learn.
        decoder: what is to decode them in validation.
        validation: the items of the dataset of validation, where it has its own.

    Raises:
        InputError: a file is missing, labels and images differ in number, an output cannot be written, there is
            nothing to resume from, or the decoder takes other maps.
    """
    check_decoder(representation, decoder)
    if not image_x:
        raise InputError("image_x: no labelled volume. Name one; in MONAI Label, submit the label of one first.")
    source = volume_items(image_x, label_x)
    if any("label" not in item for item in (*source, *(volume_items(validation) if validation else ()))):
        raise InputError(
            "label_x: none given, and training needs the labels of X. Name their file; oracle.yaml, which trains on Y, "
            "needs label_y."
        )
    target = _check_target(image_y, label_y)
    check_training_roles(source, target)
    check_folder(output_dir)
    check_folder(Path(model_path).parent)
    if Path(model_path).is_dir():
        raise InputError(f"{model_path} is a folder; model_path needs the name of a file, such as model.pt.")
    if not is_auto(resume) and flag(resume, "resume") and not list_checkpoints(output_dir):
        raise InputError(f"{output_dir}: found no checkpoint to resume from. Start without --resume.")


def check_inference(
    image: Items,
    output_dir: str,
    output_ext: str = ".tif",
    label: Volumes | None = None,
    network: nn.Module | None = None,
    model_path: str = "",
    representation: Any = None,
    decoder: Any = None,
    inferer: Any = None,
) -> None:
    """See that every volume can be segmented and every result be written, so that none of several fails half-way.

    Several volumes are read for this, one at a time, and dropped again. A single one is checked when it is read to be
    segmented, before any work, so that it is read once.

    Args:
        image: files, a pattern or a list; or the items of the dataset, which another program may have handed over.
        output_dir: folder of the results.
        output_ext: extension of the instances.
        label: labels to score against, in the order of the images; given beside items, these need a label each.
        network: given the weights of `model_path`, to see that they fit.
        model_path: file of the weights.
        representation: the maps that the network predicts.
        decoder: what is to decode them.
        inferer: how the network is applied: with its image, in mixed precision (an exported network may lack either),
            and for which voxel size.

    Raises:
        InputError: a file is missing or no volume, a label or the weights do not fit, an output cannot be written,
            two volumes would give outputs of the same name, the decoder takes other maps, the network cannot be
            applied in that way, or voxels are more than 20 times as large as training's.
    """
    check_decoder(representation, decoder)
    items = _scored(volume_items(image) if _are_items(image) else volume_items(image, label), label is not None)
    check_roles(items)
    check_folder(output_dir)
    check_writable(Path(output_dir) / f"instances.{output_ext.lstrip('.')}")
    check_results([item["image"] for item in items], output_dir)
    if network is not None:
        load_weights(network, model_path, getattr(representation, "names", ()))
    _check_sizes(items, inferer)
    if inferer is not None and (check_use := getattr(network, "check_use", None)) is not None:
        check_use(inferer.with_image, inferer.amp)
    for item in items if len(items) > 1 else ():
        _check_item(item)


def check_decoder(representation: Any, decoder: Any) -> None:
    """See that a decoder takes the maps that there are, where no configuration with tables of both was checked.

    Args:
        representation: its `names`; without any, nothing is compared.
        decoder: its `map_names`; those of others, which have none, are taken as they are.

    Raises:
        InputError: the names differ, or come in another order.
    """
    found, expected = (tuple(getattr(*of, ())) for of in ((representation, "names"), (decoder, "map_names")))
    if text := misfit(found, type(decoder).__name__, expected):
        raise InputError(text)


def check_folder(folder: str | os.PathLike[str]) -> None:
    """See that files can be written to a folder, which need not be there; nothing is created.

    Raises:
        InputError: there is a file in its place, or no permission.
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{folder} cannot be written to: {there} is a file, not a folder. Choose another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written to: no permission for {there}. Choose another folder.")


def _check_target(image_y: Volumes, label_y: Volumes | None) -> list[dict[str, str]]:
    """Say what the method needs where Y cannot be found: who trains from MONAI Label has named no volume of Y yet."""
    try:
        list_volumes(image_y)
    except InputError as error:
        raise InputError(
            f"{error} image_y: training needs an unlabelled volume of the target Y beside the labelled volumes of the "
            "source X, and MONAI Label has labelled ones alone: name it, as docs/guides/MONAI_LABEL.md says."
        ) from None
    return volume_items(image_y, label_y)


def _are_items(image: Any) -> bool:
    return not isinstance(image, str) and any(isinstance(one, Mapping) for one in image)


def _scored(items: Sequence[dict[str, str]], needs_label: bool) -> list[dict[str, str]]:
    """The items with the label that they are scored against, or without where nothing is scored."""
    for item in items:
        if needs_label and "label" not in item:
            raise InputError(f"dataset#data: {item['image']} has no label, and evaluate.yaml scores against one.")
    return [item if needs_label else {"image": item["image"]} for item in items]


def _check_sizes(items: Sequence[Mapping[str, str]], inferer: Any) -> None:
    """See that voxels are not so unlike training's that a unit is wrong."""
    trained = getattr(inferer, "training_voxel_size", None)
    for item in items if trained is not None else ():
        physical_scale(inferer.scale, trained, open_volume(item["image"]).voxel_size, item["image"])


def _check_item(item: dict[str, str]) -> None:
    check_image(read_volume(item["image"])[0], item["image"])
    if "label" in item:
        check_label(read_label(item["label"], item["image"]), item["label"])
