"""Volumes that are arrays: checked as files are, and read as MONAI's transforms read files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.adapter import VolumeReader
from scripts.volume_io.files import load
from scripts.volume_io.paths import is_name
from scripts.volume_io.unit import as_voxel_size
from scripts.volume_io.volume import Volume, diagonal_affine, native, numeric

__all__ = ["ArrayReader", "as_volume", "checked_size"]

VoxelSize = tuple[float, float, float]


class ArrayReader(VolumeReader):
    """A reader for `LoadImaged` that gives one volume, whatever name it is asked for. Memory: as its base.

    Args:
        volume: the volume.
    """

    def __init__(self, volume: Volume) -> None:
        super().__init__()
        self.volume = volume

    def load(self, name: str) -> Volume:
        """Return the volume."""
        return self.volume


def as_volume(image: Any, name: str, voxel_size: Sequence[float] | None = None) -> Volume:
    """Return a volume that is given as an array, or by the name of a file.

    An array is copied only where files are read in another type or byte order: half precision becomes float32.

    Args:
        image: (Z, Y, X), or a name as for `scripts.volume_io.read_volume`.
        name: of the argument, for messages.
        voxel_size: (z, y, x) in micrometres, instead of what the file states.

    Raises:
        InputError: the file is no volume, the array is not 3D or holds no numbers, or the voxel size is none.
    """
    size = checked_size(voxel_size, "voxel_size")
    if is_name(image):
        volume = load(image)
        return volume if size is None else volume._replace(voxel_size=size)
    array = np.asarray(image.cpu() if hasattr(image, "cpu") else image)  # a tensor of torch may be on a GPU
    numeric(array.dtype, name)
    if array.ndim != 3:
        raise InputError(f"{name}: {array.ndim}D, shape {array.shape}; expected a 3D array (Z, Y, X), one channel.")
    if array.size == 0:
        raise InputError(f"{name}: shape {array.shape}, no voxels; expected a 3D array (Z, Y, X).")
    return Volume(native(array), size, diagonal_affine(size), "um" if size else "unknown")


def checked_size(voxel_size: Sequence[float] | None, name: str) -> VoxelSize | None:
    """Return a voxel size (z, y, x) in micrometres as floats; None for none.

    Raises:
        InputError: it is not three positive numbers.
    """
    size = as_voxel_size(voxel_size)
    if voxel_size is not None and size is None:
        raise InputError(f"{name}: found {voxel_size!r}, expected three positive micrometres (z, y, x).")
    return size
