"""What the formats have in common: the volume with its geometry, and integer types."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import psutil
from scripts.errors import InputError
from scripts.volume_io.unit import MICROMETRES, as_voxel_size

__all__ = [
    "Volume",
    "check_memory",
    "check_scaled_memory",
    "diagonal_affine",
    "native",
    "scaled_shape",
    "spacing_of",
]


class Volume(NamedTuple):
    """An array with its place in the world.

    Attributes:
        array: (Z, Y, X), or (C, Z, Y, X) for maps.
        voxel_size: (z, y, x) in micrometres, None where the file does not say.
        affine: (4, 4), index (z, y, x) -> position (x, y, z), right-anterior-superior, in `unit`.
        unit: "um", "mm", "m" or "unknown".
        placed: whether the file states direction and origin, so that `affine` says more than the voxel size.
    """

    array: np.ndarray
    voxel_size: tuple[float, float, float] | None
    affine: np.ndarray
    unit: str
    placed: bool = False


def diagonal_affine(voxel_size: Sequence[float] | None) -> np.ndarray:
    """Return the (4, 4) matrix from index (z, y, x) to position (x, y, z), axes along the world's; 1 where unknown."""
    affine = np.zeros((4, 4))
    affine[(2, 1, 0, 3), (0, 1, 2, 3)] = (*(voxel_size or (1.0, 1.0, 1.0)), 1.0)
    return affine


def spacing_of(affine: np.ndarray, unit: str) -> tuple[float, float, float] | None:
    """Return the voxel size (z, y, x) in micrometres that an affine in `unit` has; None for 1, 1, 1 in no unit."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if unit == "unknown" and np.allclose(sizes, 1):
        return None
    return as_voxel_size(sizes * MICROMETRES[unit])


def native(array: np.ndarray) -> np.ndarray:
    """Return the array in native byte order, bool as uint8 and half precision as float32; copied only if need be."""
    if array.dtype == bool:
        return array.view(np.uint8)
    return array.astype(native_dtype(array.dtype), copy=False)


def native_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type that `native` gives arrays of this type."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")


def numeric(dtype: np.dtype, name: object) -> None:
    """See that `dtype` is a number per voxel.

    Raises:
        InputError: complex, text, or several values per voxel (colour).
    """
    if dtype.names is not None and set("RGB") <= set(dtype.names):
        raise InputError(f"{name}: an RGB image; expected one grey value per voxel. Save one channel of it.")
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(f"{name}: values of type {dtype}; expected integers or floats.")


def check_memory(shape: Sequence[int], dtype: np.dtype, name: object) -> None:
    """See that an array that a file claims to hold fits into memory, before any is taken.

    Raises:
        InputError: it is larger than what is free now.
    """
    claimed, free = prod(map(int, shape)) * dtype.itemsize, available_bytes()
    if claimed > free:
        raise InputError(
            f"{name}: says it holds {claimed / 1e9:.1f} GB (shape {tuple(shape)}, {dtype}), and {free / 1e9:.1f} GB of "
            "memory are free. Read it in parts (docs/guides/LARGE_VOLUMES.md), or copy it again if it is not so large."
        )


def check_scaled_memory(shape: Sequence[int], scale: Sequence[float], name: object, itemsize: int = 4) -> None:
    """See that a volume still fits into memory once it is scaled.

    Args:
        shape: (Z, Y, X) as stored.
        scale: factors (z, y, x).
        name: of the volume, for the message.
        itemsize: bytes per voxel after scaling; 4 for float32.

    Raises:
        InputError: it does not.
    """
    scaled = scaled_shape(shape, scale)
    needed, free = prod(scaled) * itemsize, available_bytes()
    if needed > free and prod(scaled) > prod(shape):
        raise InputError(
            f"{name}: scaled by {list(scale)} (z, y, x), shape {tuple(shape)} becomes {scaled}, {needed / 1e9:.1f} GB; "
            f"{free / 1e9:.1f} GB of memory are free. Choose smaller factors; look at the units of the voxel sizes."
        )


def scaled_shape(shape: Sequence[int], scale: Sequence[float]) -> tuple[int, ...]:
    """Return the size (Z, Y, X) of a volume after scaling; no side falls below one voxel."""
    return tuple(max(1, round(n * factor)) for n, factor in zip(shape, scale, strict=True))


def available_bytes() -> int:
    """Return how much memory is free."""
    return int(psutil.virtual_memory().available)


def fitting_integer(array: np.ndarray, candidates: Sequence[type[np.integer]], name: object) -> np.dtype:
    """Return the first of the integer types that holds every value of an integer array.

    Raises:
        InputError: none does.
    """
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for candidate in candidates:
        if np.iinfo(candidate).min <= low and high <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    kinds = ", ".join(np.dtype(candidate).name for candidate in candidates)
    raise InputError(f"{name}: values from {low} to {high} do not fit into {kinds}; renumber the ids, or write .h5.")
