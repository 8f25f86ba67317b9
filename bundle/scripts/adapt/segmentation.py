"""Instances of a volume from Python, as inference.yaml and the model's plan make them of a file; nothing is written."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_numpy
from scripts.adapt.array import ArrayReader, as_volume, is_name
from scripts.blockwise.table import columns_of
from scripts.check import refuse
from scripts.check.command import check_sources
from scripts.check.overlay import configuration
from scripts.check.plan import used_plan
from scripts.check.problem import closest
from scripts.check.signature import arguments
from scripts.check.source import Source
from scripts.checkpoint.weights import check_fit, load_weights
from scripts.command.bundle import BUNDLE
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.metrics.measure import join, measure
from scripts.plan import MAY_DIFFER, Plan
from scripts.plan.file import read_plan
from scripts.plan.weights import plan_of_state

__all__ = ["Segmentation", "segment"]

logger = logging.getLogger(__name__)

_SHIPPED = BUNDLE / "models" / "model.pt"
_IN_MEMORY = "the model"
_NOT_OPTIONS = ("maps", "seeds", "return_seeds", "on_stage")


@dataclass(frozen=True)
class Segmentation:
    """Instances, and what they were made with.

    Attributes:
        instances: (Z, Y, X) int32, 0 for background; ids may have gaps.
        maps: (C, Z, Y, X) uint8, 255 times what they are, the translated image first; None unless asked for.
        channel_names: of `maps`.
        voxel_size: (z, y, x) in micrometres; None where it is unknown.
        plan: what the instances were made with; `plan.changed` has the model's own values of what differs.
        table: the columns of instances.csv, each with a value for each instance: `pandas.DataFrame(found.table)`.
    """

    instances: np.ndarray
    maps: np.ndarray | None
    channel_names: Sequence[str]
    voxel_size: tuple[float, float, float] | None
    plan: Plan
    table: Mapping[str, np.ndarray]


def segment(
    image: Any,
    model: Any = _SHIPPED,
    voxel_size: Sequence[float] | None = None,
    *,
    maps: bool = False,
    progress: bool = False,
    **changes: Any,
) -> Segmentation:
    """Segment a volume with a trained model: voxel for voxel what `monai.bundle run` makes of it as a file.

    Memory beside the image: at most 24 bytes per voxel, of which 4 stay, or 8 with `maps`.

    Args:
        image: (Z, Y, X) of any integer or float type; or the name of a file, as for `scripts.volume_io.read_volume`.
        model: model.pt by its name, or what `adapt` returned, or a state dict.
        voxel_size: (z, y, x) in micrometres, for the scale where the model knows its training's; by default what
            the file states.
        maps: return the maps as well.
        progress: show bars.
        **changes: what may differ from the plan of the model: `overlap`, `flips`, `scale`, and options of the decoder
            such as `seed_distance` or `min_instance_size`.

    Raises:
        InputError: no volume, no weights, a change of what the network was trained with, or a value out of range.
    """
    volume = as_volume(image, "image", voxel_size)
    weights = _weights(model)
    name = os.fspath(weights) if is_name(weights) else _IN_MEMORY
    plan = read_plan(weights) if is_name(weights) else plan_of_state(weights, name)
    parser = _configured(plan, name, changes)
    network = _network(parser, weights)
    reader = {"preprocessing::transforms::0::reader": ArrayReader(volume)}
    parser.update(pairs={**reader, "inferer::progress": progress, "decode::progress": progress})
    part = parser.get_parsed_content
    grey = _grey(part("preprocessing"), str(image) if is_name(image) else "image")
    pred = part("inferer")(grey[None].to(part("device")), network)[0]
    del grey
    found = part("decode")(part("maps_alone")({"pred": pred}))
    names = part("representation").channel_names
    instances = convert_to_numpy(found["instances"])[0]
    scale = pred.meta["scale"].reshape(-1)[:3].tolist()
    return Segmentation(
        instances,
        convert_to_numpy(pred) if maps else None,
        ["image", *names],
        volume.voxel_size,
        used_plan(parser.config, plan).for_volume(scale),
        _table(instances, convert_to_numpy(found["maps"]), names, volume.voxel_size),
    )


def _weights(model: Any) -> Any:
    """What a model is: the name of its file, or its state dict.

    Raises:
        InputError: neither.
    """
    weights = getattr(model, "state", model)
    if not (is_name(weights) or isinstance(weights, Mapping)):
        raise InputError(f"model: found {type(model).__name__}, expected the name of a file, or what adapt returned.")
    return weights


def _configured(plan: Plan | None, name: str, changes: Mapping[str, Any]) -> Any:
    """MONAI's parser of inference.yaml with the plan and the changes upon it, checked.

    Raises:
        InputError: a change that is not possible, or a value out of range.
    """
    if plan is None:
        logger.warning("%s: carries no plan of how Y was seen; the values of inference.yaml are used.", name)
    parser: Any = configuration("inference", [], plan=plan, model=name)
    options = set(arguments(parser["decoder"]["_target_"]) or ()) - {*_NOT_OPTIONS}
    known = [*(key for key in MAY_DIFFER if key != "decoder"), "scale", *sorted(options)]
    for key in changes:
        if key not in known:
            advice = closest(key, known)
            raise InputError(
                f"{key}: found a change that is not possible, expected one of {', '.join(known)}. {advice}"
            )
    given = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in changes.items()}
    parser.update(pairs={f"decoder::{key}" if key in options else key: value for key, value in given.items()})
    if "scale" in given:
        parser.update(pairs={"training_voxel_size": None})  # a scale that is given is for the volume as it is
    content = {key: value for key, value in parser.config.items() if key != "_meta_"} | {"model_path": _IN_MEMORY}
    refuse(check_sources([Source("", content, {})], {}, "inference", volumes=False).problems)
    few = np.zeros((parser.get_parsed_content("representation").channels, 4, 4, 4), np.uint8)
    parser.get_parsed_content("decoder")(few)  # rejects what no schema knows before the network works, not after
    return parser


def _grey(preprocessing: Any, name: str) -> Any:
    """The volume as the network sees it, (1, Z, Y, X), with the errors of bad input as they are."""
    try:
        return preprocessing({"image": name})["image"]
    except RuntimeError as error:  # MONAI's, from ours
        if (found := expected_error(error)) is None:
            raise
        raise found from None


def _network(parser: Any, weights: Any) -> Any:
    """The network with its weights, on the device, in the mode for inference.

    It is made without values first, so that no random number is drawn: the state of the caller's generator stays.
    Values then get the order in memory that the network wants, on which the last bit of the maps depends.
    """
    names = parser.get_parsed_content("representation").names
    with torch.device("meta"):
        network: Any = parser.get_parsed_content("network_def")
    order: Any = torch.channels_last_3d if getattr(network, "channels_last", False) else torch.contiguous_format
    network = network.to_empty(device="cpu").to(memory_format=order)
    if is_name(weights):
        load_weights(network, weights, names)
    else:
        check_fit(network, weights, _IN_MEMORY)
        network.load_state_dict(weights)
    network.to(parser.get_parsed_content("device")).eval()
    return network


def _table(
    instances: np.ndarray, maps: np.ndarray, names: Sequence[str], voxel_size: Sequence[float] | None
) -> dict[str, np.ndarray]:
    """Columns of instances.csv but for the name of the volume; sizes in µm³ are NaN where the voxel size is unknown."""
    z, y, x = (slice(0, side) for side in instances.shape)
    found = join([measure(instances, maps, (z, y, x), instances.shape)])
    whole = math.nan if voxel_size is None else math.prod(voxel_size)
    return {**columns_of(found, names[:2], 255.0), "volume_um3": found["voxels"] * whole}
