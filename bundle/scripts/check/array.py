"""Checks of arrays before any work is done on them. Nothing of MONAI is imported, so that `scripts.check` starts fast.

All go through a volume plane by plane, so that they need a few planes of memory beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scripts.check.fragmentation import check_fragmentation
from scripts.component import connected_components
from scripts.errors import InputError

__all__ = ["check_image", "check_label", "check_label_type", "check_maps", "check_sides"]


def check_image(array: Any, name: str, min_side: int = 4) -> None:
    """See that an image can be worked on.

    Args:
        array: (Z, Y, X) or (1, Z, Y, X).
        name: the file, for the message.
        min_side: voxels that each side must have.

    Raises:
        InputError: not 3D, a side too short, no numbers, NaN or infinite voxels, or the same value everywhere.
    """
    volume = _volume(array, name, "image")
    check_sides(volume.shape, name, min_side)
    if volume.dtype.kind == "f":
        _refuse_not_finite(volume, name)
    check_contrast(*_value_range(volume), name)


def check_contrast(low: Any, high: Any, name: str) -> None:
    """See that the lowest and the highest value of an image differ.

    Raises:
        InputError: they do not.
    """
    if low == high:
        raise InputError(f"{name}: every voxel is {low}; expected an image. Check the file or dataset.")


def check_sides(shape: Sequence[int], name: str, min_side: int = 4) -> None:
    """See that every side (Z, Y, X) is long enough for an image.

    Raises:
        InputError: one is not.
    """
    if min(shape) < min_side:
        raise InputError(
            f"{name}: shape {tuple(shape)} (z, y, x); expected at least {min_side} voxels on every side. "
            "Check the order of the axes, or give a larger volume."
        )


def check_label(array: Any, name: str) -> None:
    """See that a volume holds instances: 0 is background, each object has an id of its own.

    Args:
        array: (Z, Y, X) or (1, Z, Y, X).
        name: the file, for the message.

    Raises:
        InputError: not 3D, floats, negative ids, no object, one id for several objects that do not touch (which is a
            semantic mask), or what looks like a grey image. Only where there is one id, memory of up to 5 bytes per
            voxel is needed.
    """
    volume = _volume(array, name, "label")
    check_label_type(volume, name)
    low, high = _value_range(volume)
    if low < 0:
        raise InputError(f"{name}: ids from {low} to {high}; expected none below 0. Set negative ids to 0.")
    if high == 0:
        raise InputError(f"{name}: no object, every voxel is 0; expected an instance label. Check the file or dataset.")
    if all(bool(((plane == 0) | (plane == high)).all()) for plane in volume):
        _refuse_semantic(volume == high, int(high), name)
    else:
        check_fragmentation(volume, name)


def check_label_type(volume: Any, name: str) -> None:
    """See that a volume (Z, Y, X) has whole numbers.

    Raises:
        InputError: it has floats.
    """
    if volume.dtype.kind == "f":
        planes = (volume[z : z + 1] for z in range(volume.shape[0]))
        whole = all(bool((plane == np.floor(plane)).all()) for plane in planes)
        advice = "its values are whole, so save it as uint16 or int32" if whole else "this looks like an image or a map"
        raise InputError(f"{name}: a label of type {volume.dtype}; expected integer ids ({advice}).")


def check_maps(array: Any, channels: int, name: str) -> None:
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


def _volume(array: Any, name: str, role: str) -> np.ndarray:
    """Return (Z, Y, X) without a copy, of the numbers it holds."""
    volume = np.asarray(array.cpu() if hasattr(array, "cpu") else array)
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
