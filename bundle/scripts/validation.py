"""Checks of volumes before any work is done on them, as functions on arrays and as MONAI transforms.

All go through a volume plane by plane, so that they need a few planes of memory beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_data_type, ensure_tuple_rep

from scripts.component import connected_components
from scripts.errors import InputError
from scripts.volume_io import Place, turn_to
from scripts.volume_io.volume import as_voxel_size

__all__ = ["CheckImaged", "CheckLabeld", "check_image", "check_label", "check_maps", "check_patch"]


def check_image(array: NdarrayOrTensor, name: str, min_side: int = 4) -> None:
    """See that an image can be worked on.

    Args:
        array: (Z, Y, X) or (1, Z, Y, X).
        name: the file, for the message.
        min_side: voxels that each side must have.

    Raises:
        InputError: not 3D, a side too short, no numbers, NaN or infinite voxels, or the same value everywhere.
    """
    volume = _volume(array, name, "image")
    if min(volume.shape) < min_side:
        raise InputError(
            f"{name}: shape {volume.shape} (z, y, x); expected at least {min_side} voxels on every side. "
            "Check the order of the axes, or give a larger volume."
        )
    if volume.dtype.kind == "f":
        _refuse_not_finite(volume, name)
    low, high = _value_range(volume)
    if low == high:
        raise InputError(f"{name}: every voxel is {low}; expected an image. Check the file or dataset.")


def check_label(array: NdarrayOrTensor, name: str) -> None:
    """See that a volume holds instances: 0 is background, each object has an id of its own.

    Args:
        array: (Z, Y, X) or (1, Z, Y, X).
        name: the file, for the message.

    Raises:
        InputError: not 3D, floats, negative ids, no object, or one id for several objects that do not touch (which is a
            semantic mask). Only for this last check memory of up to 5 bytes per voxel is needed, and only where there
            is one id.
    """
    volume = _volume(array, name, "label")
    if volume.dtype.kind == "f":
        whole = all(bool((plane == np.floor(plane)).all()) for plane in volume)
        advice = "its values are whole, so save it as uint16 or int32" if whole else "this looks like an image or a map"
        raise InputError(f"{name}: a label of type {volume.dtype}; expected integer ids ({advice}).")
    low, high = _value_range(volume)
    if low < 0:
        raise InputError(f"{name}: ids from {low} to {high}; expected none below 0. Set negative ids to 0.")
    if high == 0:
        raise InputError(f"{name}: no object, every voxel is 0; expected an instance label. Check the file or dataset.")
    if all(bool(((plane == 0) | (plane == high)).all()) for plane in volume):
        _refuse_semantic(volume == high, int(high), name)


def check_patch(shape: Sequence[int], patch: Sequence[int], name: str) -> None:
    """See that a patch fits into a volume, both (Z, Y, X).

    Raises:
        InputError: it does not; the message says which would.
    """
    if len(shape) != 3 or len(patch) != 3:
        raise InputError(f"{name}: volume {tuple(shape)}, patch {tuple(patch)}; expected (z, y, x) for both.")
    short = [axis for axis, size, side in zip("zyx", shape, patch, strict=True) if size < side]
    if short:
        fitting = [min(size, side) for size, side in zip(shape, patch, strict=True)]
        raise InputError(
            f"{name}: shape {tuple(shape)} (z, y, x) is below the patch {tuple(patch)} along {', '.join(short)}; "
            f"the largest that fits is {fitting}. Set patch_size to that or less, or give a larger volume."
        )


def check_maps(array: NdarrayOrTensor, channels: int, name: str) -> None:
    """See that maps (C, Z, Y, X) have the channels that the decoder wants.

    Raises:
        InputError: not 4D, or another number of channels.
    """
    if array.ndim != 4:
        raise InputError(f"{name}: {array.ndim}D, shape {tuple(array.shape)}; expected maps ({channels}, Z, Y, X).")
    if array.shape[0] != channels:
        raise InputError(
            f"{name}: {array.shape[0]} channels, shape {tuple(array.shape)} (c, z, y, x); expected {channels}. "
            "Use the decoder of the maps that were predicted, and leave out a translated image stored before them."
        )


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


def _volume(array: NdarrayOrTensor, name: str, role: str) -> np.ndarray:
    """Return (Z, Y, X) without a copy, of the numbers it holds."""
    volume = convert_data_type(array, np.ndarray)[0]
    volume = volume[0] if volume.ndim == 4 and volume.shape[0] == 1 else volume
    if volume.ndim != 3:
        raise InputError(f"{name}: {volume.ndim}D, shape {volume.shape}; expected a 3D {role} of one channel.")
    if volume.size == 0:
        raise InputError(f"{name}: shape {volume.shape}, no voxels; expected a 3D {role} (Z, Y, X).")
    if volume.dtype.kind not in "buif":
        raise InputError(f"{name}: values of type {volume.dtype}; expected integers or floats.")
    return volume


def _value_range(volume: np.ndarray) -> tuple[Any, Any]:
    ends = [(plane.min().item(), plane.max().item()) for plane in volume]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _refuse_not_finite(volume: np.ndarray, name: str) -> None:
    counts = np.array([(np.isnan(plane).sum(), np.isinf(plane).sum()) for plane in volume])
    if counts.any():
        nan, infinite = counts.sum(axis=0)
        first = int(np.flatnonzero(counts.any(axis=1))[0])
        raise InputError(
            f"{name}: {nan} NaN and {infinite} infinite voxels, the first in plane z = {first}; expected none. "
            "Replace them, for example by 0."
        )


def _refuse_semantic(mask: np.ndarray, value: int, name: str) -> None:
    pieces = int(connected_components(mask).max())
    if pieces > 1:
        raise InputError(
            f"{name}: one id ({value}) for {pieces} separate objects, a semantic mask; expected instances, each with "
            "an id of its own. Label the objects one by one, or, where none touch, by connected components."
        )
