"""Instances of a volume from Python, as inference.yaml and the model's plan make them of a file; nothing is written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.utils import convert_to_numpy
from scripts.adapt.array import ArrayReader, as_volume
from scripts.blockwise.table import columns_of
from scripts.command.bundle import BUNDLE
from scripts.metrics.measure import join, measure
from scripts.plan import Plan
from scripts.predictor import Predictor
from scripts.volume_io.paths import is_name

__all__ = ["Segmentation", "segment"]

_SHIPPED = BUNDLE / "models" / "model.pt"


@dataclass(frozen=True)
class Segmentation:
    """Instances, and what they were made with.

    Attributes:
        instances: (Z, Y, X) int32, 0 for background; ids count from 1 without gaps.
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
    reader = {"preprocessing::transforms::0::reader": ArrayReader(volume)}
    preset = {**reader, "inferer::progress": progress, "decode::progress": progress}
    predictor = Predictor.of(model, changes, preset)
    part = predictor.part
    grey = predictor.grey(str(image) if is_name(image) else "image")
    pred = part("inferer")(grey[None].to(part("device")), predictor.network)[0]
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
        predictor.plan.for_volume(scale),
        _table(instances, convert_to_numpy(found["maps"]), names, volume.voxel_size),
    )


def _table(
    instances: np.ndarray, maps: np.ndarray, names: Sequence[str], voxel_size: Sequence[float] | None
) -> dict[str, np.ndarray]:
    """Columns of instances.csv but for the name of the volume; sizes in µm³ are NaN where the voxel size is unknown."""
    z, y, x = (slice(0, side) for side in instances.shape)
    found = join([measure(instances, maps, (z, y, x), instances.shape)])
    whole = math.nan if voxel_size is None else math.prod(voxel_size)
    return {**columns_of(found, names[:2], 255.0), "volume_um3": found["voxels"] * whole}
