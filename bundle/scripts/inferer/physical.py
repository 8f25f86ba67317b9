"""An inferer for a volume whose voxels have another size than those that the network was trained on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from scripts.plan import Plan
from scripts.transforms.scaling import checked_scale
from scripts.volume_io.physical import physical_scale, voxel_factor
from scripts.volume_io.unit import as_voxel_size

if TYPE_CHECKING:
    from scripts.inferer.sliding_window import MapInferer

__all__ = ["for_images", "for_voxel_size"]

logger = logging.getLogger(__name__)
Inferer = TypeVar("Inferer", bound="MapInferer")


def for_voxel_size(inferer: Inferer, voxel_size: Sequence[float] | None, name: object = "") -> Inferer:
    """Return an inferer that shows the network the objects of a volume as large as those that it learned.

    The scale comes from `physical_scale`, and the padding covers the same lengths. The window, which is in voxels
    of the network, stays, and so do the network's time and memory for each window. `voxel_factor` says how many voxels
    an object has here for each one that it had in training, by which the decoder's sizes are to be multiplied.

    Args:
        inferer: with the `training_voxel_size` that its scale is for; returned as it is where nothing changes.
        voxel_size: (z, y, x) in micrometres; None where it is unknown.
        name: of the volume, for the log and messages.

    Raises:
        InputError: see `physical_scale`; or a factor is above 20.
    """
    trained = inferer.training_voxel_size
    scale = physical_scale(inferer.scale, trained, voxel_size, name)
    if scale == inferer.scale or voxel_size is None or trained is None:
        return inferer
    words = tuple(" x ".join(f"{side:.4g}" for side in sides) for sides in (scale, inferer.scale, voxel_size, trained))
    logger.info("%s: scale %s instead of %s, since its voxels are %s µm and training's were %s µm.", name, *words)
    own = copy.copy(inferer)
    own.voxel_factor = voxel_factor(scale, inferer.scale)
    factors = [before / now for before, now in zip(inferer.scale, scale, strict=True)]
    own.padding = tuple(round(side * factor) for side, factor in zip(inferer.padding, factors, strict=True))
    own.scale, own.training_voxel_size = checked_scale(scale), None
    own.plan = inferer.plan and Plan.from_text(inferer.plan).for_volume(scale).to_text()
    return own


def for_images(inferer: Inferer, images: torch.Tensor) -> Inferer:
    """Return `for_voxel_size` of the first of a batch of images, whose metadata `VolumeReader` wrote."""
    meta = getattr(images, "meta", {})
    return for_voxel_size(inferer, as_voxel_size(_first(meta.get("voxel_size"))), _first(meta.get("filename_or_obj")))


def _first(value: Any) -> Any:
    """What the metadata of a volume say, which a loader puts into a list or a tensor with one more axis."""
    if isinstance(value, torch.Tensor):
        return value.cpu().numpy().reshape(-1)[:3]
    return value[0] if isinstance(value, list | tuple) and value and not isinstance(value[0], float | int) else value
