"""NIfTI files, read part by part."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.volumeutils import apply_read_scaling
from scripts.errors import InputError
from scripts.volume_io import nifti
from scripts.volume_io.chunked import ChunkedVolume, Layout, plane_chunks
from scripts.volume_io.paths import decoding
from scripts.volume_io.volume import spacing_of

__all__ = ["NiftiVolume", "open_parts"]


class NiftiVolume(ChunkedVolume):
    """A file, mapped into memory; packed (.nii.gz) it is read whole at the first read, itemsize bytes per voxel."""

    kind = "NIfTI"

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(layout)
        self._path = path.absolute()

    def _open(self) -> Any:
        image: Any = nibabel.load(self._path, mmap="r")
        stored = image.dataobj.get_unscaled()
        if not isinstance(stored, np.memmap):
            logging.getLogger(__name__).warning("%s: packed, so it is read whole; unpack it (gunzip).", self._path)
        return _Scaled(stored.T, image.dataobj.slope, image.dataobj.inter)


class _Scaled:
    def __init__(self, stored: np.ndarray, slope: float, inter: float) -> None:
        self.stored, self.scale = stored, (slope, inter)
        self.shape = stored.shape

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        part = np.array(self.stored[box])
        return part if self.scale == (1.0, 0.0) else apply_read_scaling(part, *self.scale).astype(np.float32)


def open_parts(path: Path) -> NiftiVolume:
    """Open a file; the errors are those of `nifti.read`."""
    with decoding(path, "NIfTI"):
        image: Any = nibabel.load(path)
        kept = len(nifti.volume_shape(image.shape, path))
        shape = tuple(image.shape[::-1])
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        dtype = np.dtype(np.float32) if scaled else image.get_data_dtype()
        affine, unit = nifti.placed(image)
        place = affine if nifti.states_place(image) else None
        there, due = path.stat().st_size, _due(image)
    if path.name.lower().endswith(".nii") and there < due:
        raise InputError(f"{path} is damaged or cut short: {there} of {due} bytes. Copy it again.")
    axes = tuple(range(len(shape) - kept, len(shape)))
    layout = Layout(str(path), shape, dtype, plane_chunks(shape), axes, spacing_of(affine, unit), affine=place)
    return NiftiVolume(path, layout)


def _due(image: Any) -> int:
    return int(image.dataobj.offset) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
