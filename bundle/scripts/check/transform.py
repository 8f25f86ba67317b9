"""Checks of volumes as MONAI transforms; `scripts.check.array` has them as functions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImaged, MapTransform
from monai.utils import convert_data_type, ensure_tuple_rep
from scripts.check.array import check_image, check_label
from scripts.volume_io import Place, turn_to
from scripts.volume_io.volume import as_voxel_size

__all__ = ["CheckImaged", "CheckLabeld", "read_and_checked"]


def read_and_checked(keys: Sequence[str] = ("image",)) -> list[MapTransform]:
    """Return the transforms that read volumes (1, Z, Y, X) of any format and check them.

    Args:
        keys: `image`, and `label` for its labels.
    """
    reading = LoadImaged(keys, "scripts.volume_io.VolumeReader", dtype=None, ensure_channel_first=True)
    checks: list[MapTransform] = [CheckImaged("image")]
    return [reading, *checks, *([CheckLabeld("label", image_key="image")] if "label" in keys else [])]


class CheckImaged(MapTransform):
    """Apply `check_image` to (1, Z, Y, X); the metadata name the file.

    Args:
        keys: the images.
        min_side: voxels that each side must have.
        allow_missing_keys: whether keys that are not there are passed over.
    """

    def __init__(self, keys: KeysCollection, min_side: int = 4, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.min_side = min_side

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is, or raise as `check_image` does."""
        for key in self.key_iterator(data):
            check_image(data[key], _name(data, key), self.min_side)
        return dict(data)


class CheckLabeld(MapTransform):
    """Apply `check_label` to (1, Z, Y, X), and bring it to the image's grid; metadata name the files.

    A label that its file places over the image, but with flipped or permuted axes, is turned. See
    `scripts.volume_io.turn_to`. Memory: nothing where it fits as it is, otherwise a copy of the label.

    Args:
        keys: the labels.
        image_key: the image of each label, or one for all; None compares nothing.
        allow_missing_keys: whether keys that are not there are passed over.
    """

    def __init__(
        self, keys: KeysCollection, image_key: KeysCollection | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_keys = ensure_tuple_rep(image_key, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with turned labels, or raise as `check_label` and `turn_to` do."""
        result = dict(data)
        for key, image_key in self.key_iterator(data, self.image_keys):
            check_label(data[key], _name(data, key))
            if image_key is not None:
                result[key] = _on_grid(data, key, image_key)
        return result


def _on_grid(data: Mapping[Hashable, Any], key: Hashable, image_key: Hashable) -> Any:
    """Return a label on the grid of its image, with the image's place in its metadata."""
    label, image = data[key], data[image_key]
    turn = turn_to(_place(data, image_key), _place(data, key))
    if not turn.moves:
        return label
    array = convert_data_type(label, np.ndarray)[0]
    turned = torch.as_tensor(np.ascontiguousarray(turn(array[0] if array.ndim == 4 else array)))
    kept = ("affine", "original_affine", "spatial_shape", "voxel_size", "unit")
    meta = {**label.meta, **{name: image.meta[name] for name in kept if name in image.meta}}
    return MetaTensor(turned[None] if array.ndim == 4 else turned, meta=meta)


def _place(data: Mapping[Hashable, Any], key: Hashable) -> Place:
    """Return where a volume lies, as far as `VolumeReader` wrote it; what other readers say is not compared."""
    volume = data[key]
    meta = getattr(volume, "meta", {})
    size = as_voxel_size(meta.get("voxel_size"))
    affine = np.asarray(volume.affine, dtype=float) if meta.get("placed") else None
    return Place(_name(data, key), tuple(volume.shape[-3:]), size, affine)


def _name(data: Mapping[Hashable, Any], key: Hashable) -> str:
    return str(getattr(data[key], "meta", {}).get("filename_or_obj", key))
