"""NIfTI files: their axes are x, y, z in memory order, so arrays are transposed on the way in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import Opener
from nibabel.volumeutils import apply_read_scaling
from scripts.errors import InputError
from scripts.volume_io.chunked import ChunkedVolume, Layout, plane_chunks
from scripts.volume_io.paths import decoding
from scripts.volume_io.unit import warn_once
from scripts.volume_io.volume import fitting_integer, numeric, spacing_of

__all__ = ["NiftiVolume", "open_parts", "write"]

UNITS = {"micron": "um", "mm": "mm", "meter": "m", "unknown": "unknown"}
# NIfTI-1 keeps sizes in 16 bits
NIFTI1_SIDE = 32767
REVERSED = [2, 1, 0, 3]


class NiftiVolume(ChunkedVolume):
    """A file, mapped into memory; packed (.nii.gz) it is read whole at the first read, itemsize bytes per voxel."""

    kind = "NIfTI"

    def _open(self) -> Any:
        image: Any = nibabel.load(self._path, mmap="r")
        return _Scaled(image.dataobj.get_unscaled().T, image.dataobj.slope, image.dataobj.inter)

    def _read(self, source: _Scaled, box: tuple[slice, ...]) -> np.ndarray:
        part = source[box]
        if part.shape != source.shape and not isinstance(source.stored, np.memmap):
            warn_once(f"{self._path}: packed, so it is read whole; unpack it (gunzip).")
        return part


class _Scaled:
    def __init__(self, stored: np.ndarray, slope: float, inter: float) -> None:
        self.stored, self.scale = stored, (slope, inter)
        self.shape = stored.shape

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        part = np.array(self.stored[box])
        return part if self.scale == (1.0, 0.0) else apply_read_scaling(part, *self.scale).astype(np.float32)


def open_parts(path: Path) -> NiftiVolume:
    """Open a file; integers with a scale factor are given as float32.

    The affine is the file's, its first three columns reversed. Lengths without a unit are taken as micrometres, and a
    file without a unit whose voxels are all 1 as one without a voxel size.

    Raises:
        InputError: 2D, 4D, colour, or a damaged file.
    """
    with decoding(path, "NIfTI"):
        image: Any = nibabel.load(path)
        kept = len(volume_shape(image.shape, path))
        numeric(image.get_data_dtype(), path)  # before the scale makes it float32
        shape = tuple(image.shape[::-1])
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        dtype = np.dtype(np.float32) if scaled else image.get_data_dtype()
        affine, unit = placed(image)
        there, due = path.stat().st_size, _due(image)
    if path.name.lower().endswith(".nii") and there < due:
        raise InputError(
            f"{path} cannot be read as NIfTI: damaged or cut short, {there} of {due} bytes. Copy it again."
        )
    axes = tuple(range(len(shape) - kept, len(shape)))
    size, chunks = spacing_of(affine, unit), plane_chunks(shape)
    layout = Layout(str(path), shape, dtype, chunks, axes, size, (), affine, unit, states_place(image))
    return NiftiVolume(path, layout)


def write(path: Path, array: np.ndarray, affine: np.ndarray, unit: str, name: Path) -> None:
    """Write (Z, Y, X); the affine is stored as float32, in both of the header's places.

    64-bit integers become int32 where that holds them all, since few programs read int64. Memory: a few planes
    beside the array.

    Args:
        path: where to write.
        array: (Z, Y, X).
        affine: (4, 4), index (z, y, x) -> position (x, y, z) in `unit`.
        unit: "um", "mm", "m" or "unknown".
        name: the file's final name, for messages.

    Raises:
        InputError: maps, (C, Z, Y, X).
    """
    if array.ndim != 3:
        raise InputError(f"{name}: a NIfTI file is to hold one volume, (Z, Y, X), not shape {array.shape}; write .h5.")
    dtype = array.dtype
    if dtype in (np.int64, np.uint64):
        dtype = fitting_integer(array, (np.int32, np.int64, np.uint64), name)
    kind = nibabel.Nifti1Image if max(array.shape) <= NIFTI1_SIDE else nibabel.Nifti2Image
    image: Any = kind(array.T, affine[:, REVERSED], dtype=dtype)
    image.set_sform(affine[:, REVERSED], code=1)
    image.set_qform(affine[:, REVERSED], code=1)
    image.header.set_xyzt_units(next(key for key, value in UNITS.items() if value == unit))
    # nibabel.save leaves its file open where the disk is full, and a removed file keeps its room until it is closed
    with Opener(str(path), "wb") as file:
        image.to_file_map(image.make_file_map({"image": file}))


def placed(image: Any) -> tuple[np.ndarray, str]:
    """Return the affine, for indices (z, y, x), and its unit; a code that NIfTI has no unit for is an unknown one."""
    try:
        unit = UNITS[image.header.get_xyzt_units()[0]]
    except KeyError:
        code, name = int(image.header["xyzt_units"]), image.get_filename()
        warn_once(f"{name}: the unit of length has the code {code % 8}, which NIfTI does not define. Taken for µm.")
        unit = "unknown"
    return image.affine[:, REVERSED], unit


def states_place(image: Any) -> bool:
    """Return whether the header says where the volume lies: by code 0 it only has a voxel size."""
    affine = image.affine
    is_proper = bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) > 0
    return is_proper and any(int(image.header[name]) > 0 for name in ("sform_code", "qform_code"))


def volume_shape(shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    """Return the shape (X, Y, Z) without trailing axes of length 1.

    Raises:
        InputError: it is no volume.
    """
    sizes = shape
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) != 3:
        raise InputError(f"{path}: {len(sizes)}D, shape {shape} (x, y, z, …); expected 3D. Save one channel of it.")
    return sizes


def _due(image: Any) -> int:
    return int(image.dataobj.offset) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
