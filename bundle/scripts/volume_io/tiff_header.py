"""What an open TIFF file says of its volume: the axes, and the voxel size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from scripts.errors import InputError
from scripts.volume_io.unit import in_micrometres, warn_once
from scripts.volume_io.volume import numeric

__all__ = ["as_meant", "meant_type", "volume_axes", "voxel_size"]

VoxelSize = tuple[float, float, float]

# up to so many planes of a C or T axis may well be channels or times
FEW = 8
# A side that is more times longer than another is a mistake, if its unit is left out: OME then takes micrometres.
WIDEST = 100
# tifffile's names of axes that the file does not name
UNNAMED = "IQ"


def volume_axes(file: tifffile.TiffFile, path: Path) -> tuple[int, ...]:
    """Return which axes of an open file's only image are Z, Y, X, in this order; the others have length 1.

    Raises:
        InputError: 2D, colour, other axes than a volume has, or several images.
    """
    series = file.series
    if len(series) != 1:
        shapes = ", ".join(f"{one.axes} {one.shape}" for one in series)
        raise InputError(f"{path}: {len(series)} images ({shapes}); expected one volume. Save that one by itself.")
    axes = _volume_axes(series[0].axes.upper(), series[0].shape, path)
    numeric(series[0].dtype, path)
    return axes


def voxel_size(file: tifffile.TiffFile) -> VoxelSize | None:
    """Read the voxel size (z, y, x) in micrometres of an open file, with a warning where it is not understood."""
    name = file.filehandle.path
    if file.ome_metadata:
        nodes = ElementTree.fromstring(file.ome_metadata).iter()
        pixels = next((node for node in nodes if node.tag.rpartition("}")[2] == "Pixels"), None)
        return None if pixels is None else _ome_size(pixels.attrib, name)
    stated: Mapping[str, Any] = file.imagej_metadata or (file.shaped_metadata or ({},))[0]
    if any(f"PhysicalSize{axis}" in stated for axis in "ZYX"):
        return _ome_size(stated, name)
    return _imagej_size(stated, file.pages.first.tags, name)


def meant_type(file: tifffile.TiffFile) -> np.dtype:
    """Return the type of the values of an open file's first image.

    ImageJ keeps signed integers of 16 bits as unsigned ones, 32768 added, and says so in a calibration.
    """
    stored: np.dtype = file.series[0].dtype
    stated = file.imagej_metadata or {}
    calibration = [stated.get(key) for key in ("cf", "c0", "c1")]
    return np.dtype(np.int16) if stored == np.uint16 and calibration == [0, -32768, 1] else stored


def as_meant(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in the type that `meant_type` gives; the array itself is changed where it is another."""
    if array.dtype.kind == "u" and dtype.kind == "i":
        array ^= np.uint16(0x8000)
        return array.view(np.dtype(np.int16).newbyteorder(array.dtype.byteorder))
    return array


def _volume_axes(axes: str, shape: Sequence[int], path: Path) -> tuple[int, ...]:
    """Return the axes but those of length 1, if what is left is Z (or unnamed planes: I, Q), Y and X in any order.

    Many a stack is marked as channels or times by the program that wrote it (tifffile's default for ImageJ and OME), so
    these are taken for Z, with a warning, where there are more than `FEW`.
    """
    kept = tuple(i for i, size in enumerate(shape) if size > 1 or axes[i] in "YX")
    names, sizes = "".join(axes[i] for i in kept), tuple(shape[i] for i in kept)
    found = f"{path}: axes {names} of shape {sizes}"
    if "S" in names:
        raise InputError(f"{found}, a colour (RGB) image; expected one grey value per voxel. Save one channel of it.")
    if len(names) < 3:
        raise InputError(f"{found}, a 2D image; expected a stack of planes, (Z, Y, X).")
    planes = names.strip("YX") if len(names) == 3 and {"Y", "X"} < set(names) else ""
    if planes in ("C", "T") and sizes[names.index(planes)] > FEW:
        warn_once(f"{path}: the {sizes[names.index(planes)]} planes of its {planes} axis are taken as Z.")
    elif sorted(names) != ["X", "Y", "Z"] and planes not in tuple(UNNAMED):
        raise InputError(f"{found}; expected ZYX. Save one channel, one time point, its planes as slices (Z).")
    return tuple(kept[names.index(axis)] for axis in (planes or "Z", "Y", "X"))


def _imagej_size(stated: Mapping[str, Any], tags: tifffile.TiffTags, name: str) -> VoxelSize | None:
    """Read ImageJ's `spacing` (1 where left out) and resolution tags, in its `unit` (micrometres where left out).

    tifffile writes the same into files of its own kind. ImageJ adds `yunit` and `zunit` where these differ.
    """
    if not {"spacing", "unit"} & set(stated) or not ("XResolution" in tags and "YResolution" in tags):
        return None
    unit = stated.get("unit", "um")
    (x_count, x_length), (y_count, y_length) = tags["XResolution"].value, tags["YResolution"].value
    sizes = (stated.get("spacing", 1.0), y_length / max(y_count, 1), x_length / max(x_count, 1))
    return in_micrometres(sizes, [stated.get("zunit", unit), stated.get("yunit", unit), unit], name)


def _ome_size(stated: Mapping[str, Any], name: str) -> VoxelSize | None:
    """Read PhysicalSizeZ, Y, X with their units (micrometres where all are left out) as OME-XML has them."""
    stated_sizes = [stated.get(f"PhysicalSize{axis}") for axis in "ZYX"]
    units = [stated.get(f"PhysicalSize{axis}Unit") for axis in "ZYX"]
    if stated_sizes == [None] * 3:
        return None
    try:
        sizes = [float(str(size)) for size in stated_sizes]
    except ValueError:  # no number, or none for an axis
        warn_once(f"{name}: PhysicalSize (z, y, x) is {stated_sizes}; expected three numbers. It is taken as unknown.")
        return None
    size = in_micrometres(sizes, ["um" if unit is None else unit for unit in units], name)
    if size and None in units and max(size) > WIDEST * min(size):
        warn_once(f"{name}: PhysicalSize {sizes} in units {units} (z, y, x). The voxel size is taken as unknown.")
        return None
    return size
