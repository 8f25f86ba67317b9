"""Reading and writing a volume whatever its format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scripts.errors import InputError
from scripts.volume_io import hdf5, nifti, tiff, zarr, zarr_store
from scripts.volume_io.absent import report_absent
from scripts.volume_io.chunked import ChunkedVolume
from scripts.volume_io.paths import check_writable, existing, format_of, split_dataset
from scripts.volume_io.replacement import replacing
from scripts.volume_io.result import source_of
from scripts.volume_io.unit import as_voxel_size
from scripts.volume_io.volume import Volume, diagonal_affine, native, numeric, spacing_of

__all__ = ["load", "open_volume", "read_channel_names", "read_maps", "read_volume", "write_volume"]

VoxelSize = tuple[float, float, float]


def load(path: str | os.PathLike[str], dataset: str | None = None, ndim: int = 3) -> Volume:
    """Read a volume, or maps, with its geometry; see `read_volume`."""
    return _opened(path, dataset, ndim).whole()


def open_volume(
    path: str | os.PathLike[str],
    dataset: str | None = None,
    ndim: int = 3,
    voxel_size: Sequence[float] | None = None,
) -> ChunkedVolume:
    """Open a volume of any format to read parts of it; only what describes it is read.

    TIFF that is stored plainly, and .nii, are mapped into memory; of other TIFF the planes asked for are decoded, of
    HDF5 and Zarr the chunks. .nii.gz has no parts: it is read whole at the first read, with a warning.

    Args:
        path: as for `read_volume`: a TIFF stack, an OME-TIFF, HDF5 (`file.h5::dataset`), NIfTI, Zarr version 2 or 3
            (`store.zarr`, `store.zarr::dataset`) or OME-Zarr (`image.ome.zarr`, `image.ome.zarr::0` for a level,
            `image.ome.zarr::labels/instances`).
        dataset: for HDF5 and Zarr, the dataset to read where `path` names none.
        ndim: 3 for (Z, Y, X), 4 for (C, Z, Y, X); other axes are dropped if their length is 1.
        voxel_size: (z, y, x) in micrometres: of the levels of an OME-Zarr image the one nearest to it is opened (the
            sum over the axes of |log(size / wanted)|), which the log says; without it level 0. Other formats have one
            level.

    Raises:
        InputError: as `read_volume`.
    """
    volume = _opened(path, dataset, ndim, voxel_size)
    report_absent(volume.name, volume.absent)
    return volume


def read_volume(path: str | os.PathLike[str], dataset: str | None = None) -> tuple[np.ndarray, VoxelSize | None]:
    """Read a volume as (Z, Y, X) in the type it is stored in.

    Memory: itemsize bytes per voxel (1 for uint8, 2 for uint16); twice that for .nii.gz while it is unpacked.

    Args:
        path: a TIFF stack, an OME-TIFF, an HDF5 file (`file.h5` or `file.h5::dataset`), a NIfTI file, or a Zarr store
            (`store.zarr`, `store.zarr::dataset`, of an OME-Zarr image also `image.ome.zarr::1`, the name of a level).
        dataset: for HDF5 and Zarr, the dataset to read where `path` names none; without it the only 3D one is taken, of
            an OME-Zarr image its finest level.

    Returns:
        The array, and the voxel size (z, y, x) in micrometres, None where the file does not say.

    Raises:
        InputError: missing, damaged or of an unknown kind; 2D, colour, several channels or time points; the dataset is
            missing or there are several to choose from.
    """
    volume = load(path, dataset)
    return volume.array, volume.voxel_size


def read_maps(path: str | os.PathLike[str], dataset: str | None = None) -> tuple[np.ndarray, VoxelSize | None]:
    """Read maps (C, Z, Y, X) from HDF5 or Zarr; the dataset may have any name if it is the only one with 4 axes.

    Memory and result are those of `read_volume`.

    Raises:
        InputError: as for `read_volume`, and for other formats.
    """
    maps = load(path, dataset, ndim=4)
    return maps.array, maps.voxel_size


def read_channel_names(path: str | os.PathLike[str], dataset: str | None = None) -> list[str]:
    """What the maps that `read_maps` reads are, by channel ("image", "foreground", …), as inference writes it.

    Empty where the file does not say.

    Raises:
        InputError: as for `read_maps`.
    """
    return _opened(path, dataset, ndim=4).channel_names


def write_volume(
    path: str | os.PathLike[str],
    array: np.ndarray,
    voxel_size: Sequence[float] | None = None,
    dataset: str = "main",
    affine: np.ndarray | None = None,
    unit: str = "um",
    channel_names: Sequence[str] = (),
    labels: bool = False,
    source: str | os.PathLike[str] | None = None,
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a volume; a file, or a Zarr store, of that name is replaced, and only once the new one was written whole.

    No value changes: integers that the format cannot hold, or that few programs read in it, are stored in another
    integer type that holds them all (TIFF: uint16, uint32 or int32 for int32 and 64 bits; NIfTI: int32 for 64 bits),
    bool as uint8.
    Memory: up to 64 planes beside the array; OME-Zarr with `labels` another quarter of it.

    Args:
        path: .tif, .tiff, .ome.tif, .h5, .nii, .nii.gz, .zarr or .ome.zarr; HDF5 also as `file.h5::dataset`, and .zarr.
        array: (Z, Y, X); for HDF5 and Zarr also (C, Z, Y, X).
        voxel_size: (z, y, x) in micrometres.
        dataset: for HDF5 and .zarr, the name of the dataset where `path` names none.
        affine: (4, 4), index (z, y, x) -> position (x, y, z) in `unit`. It goes before `voxel_size`; only NIfTI keeps
            all of it.
        unit: of `affine`: "um", "mm", "m" or "unknown".
        channel_names: for HDF5 and Zarr, what the channels of (C, Z, Y, X) are; `read_channel_names` reads it.
        labels: whether these are labels. OME-Zarr then says so and has coarser levels for viewers; a TIFF has a display
            range that shows all ids, for ImageJ.
        source: for HDF5, the volume that these are the result of.
        attributes: for HDF5 and Zarr, names and texts kept with the file; `read_attribute` reads them.

    Raises:
        InputError: the file cannot be written, the shape does not suit the format, ids are too large for it, or a voxel
            size is not three positive numbers.
    """
    file, named = split_dataset(path)
    check_writable(path)
    array = np.asarray(array)
    numeric(array.dtype, file)
    array = native(array)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(f"{file}: an array of shape {array.shape} is no volume; expected (Z, Y, X), none of them 0.")
    size = _size_to_write(voxel_size, affine, unit, file)
    with replacing(file) as temporary:
        match format_of(file):
            case "hdf5":
                kept = {**(source_of(source) if source else {}), **attributes}
                hdf5.write(temporary, array, size, named or dataset, channel_names, kept)
            case "zarr":
                is_ome = file.name.lower().endswith(".ome.zarr")
                place = named if is_ome else named or dataset
                zarr.write(temporary, array, size, file, place, channel_names, labels, attributes)
            case "tiff":
                tiff.write(temporary, array, size, file, labels)
            case _ if affine is not None:
                nifti.write(temporary, array, np.asarray(affine, dtype=float), unit, file)
            case _:
                nifti.write(temporary, array, diagonal_affine(size), "um" if size else "unknown", file)


def _size_to_write(
    voxel_size: Sequence[float] | None, affine: np.ndarray | None, unit: str, name: object
) -> VoxelSize | None:
    if affine is not None:
        return spacing_of(np.asarray(affine, dtype=float), unit)
    size = as_voxel_size(voxel_size)
    if voxel_size is not None and size is None:
        raise InputError(f"{name}: voxel size {voxel_size!r}; expected three positive micrometres (z, y, x).")
    return size


def _opened(
    path: str | os.PathLike[str], dataset: str | None, ndim: int, voxel_size: Sequence[float] | None = None
) -> ChunkedVolume:
    file, named = existing(path)
    name, dataset = os.fspath(path), named or dataset
    match format_of(file):
        case "zarr":
            return zarr_store.open_parts(file, name, dataset, ndim, voxel_size)
        case "hdf5":
            return hdf5.open_parts(file, dataset, ndim)
        case kind if ndim != 3:
            raise InputError(f"{file}: maps (C, Z, Y, X) are read from HDF5 and Zarr only, not from {kind}.")
        case "tiff":
            return tiff.open_parts(file)
        case _:
            return nifti.open_parts(file)
