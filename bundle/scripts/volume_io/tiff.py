"""TIFF stacks: plain, ImageJ and OME."""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scripts.errors import InputError
from scripts.volume_io.absent import report_absent
from scripts.volume_io.cause import explain_tiff
from scripts.volume_io.chunked import arranged
from scripts.volume_io.paths import decoding
from scripts.volume_io.tiff_header import as_meant, meant_type, volume_axes, voxel_size
from scripts.volume_io.tiff_member import absent_parts, check_named, check_opened
from scripts.volume_io.volume import Volume, check_memory, diagonal_affine, fitting_integer, native

__all__ = ["complaints", "read", "refuse_loop", "refuse_partial", "write"]

IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
# classic TIFF has 32-bit offsets; the directories of the planes need some of that room
CLASSIC_BYTES = 2**32 - 2**26
# of warnings, those by which tifffile says that it gives a part
PARTIAL = ("data are zeroed", "is missing files")
# complaints after which a file is given up
MOST = 100


def read(path: Path) -> Volume:
    """Read a stack as (Z, Y, X).

    Memory: that of the array; compressed planes are decoded one by one into it. Twice that where the file says that its
    axes are in another order.

    Raises:
        InputError: 2D, colour, more or other axes than a volume has, several images in one file, or a file that is cut
            short.
    """
    with complaints() as told, decoding(path, "TIFF"), tifffile.TiffFile(path) as file:
        refuse_loop(file, path)
        check_named(file, path)
        series = file.series[0]  # newer versions of tifffile look at the planes, and complain, when it is taken
        refuse_partial(told, path)
        check_opened(file, path)
        axes = volume_axes(file, path)
        check_memory(series.shape, series.dtype, path)
        report_absent(path, absent_parts(series))
        array = arranged(as_meant(series.asarray(), meant_type(file)), axes)
        refuse_partial(told, path)
        size = voxel_size(file)
    return Volume(native(array), size, diagonal_affine(size), "um" if size else "unknown")


def write(path: Path, array: np.ndarray, size: Sequence[float] | None, name: Path) -> None:
    """Write (Z, Y, X) plane by plane, zlib-compressed. Memory: a few planes beside the array.

    ImageJ's description is used where it can say the type (uint8, uint16, float32) and the file stays below 4 GB, OME's
    otherwise and for names that end in .ome.tif. Integers of 32 and 64 bits become the smallest of uint16, uint32 and
    int32 that holds them all.

    Args:
        path: where to write.
        array: (Z, Y, X).
        size: (z, y, x) of a voxel in micrometres.
        name: the file's final name, for its ending and for messages.

    Raises:
        InputError: integers that need 64 bits, or maps, (C, Z, Y, X).
    """
    if array.ndim != 3:
        raise InputError(f"{name}: a TIFF holds one volume, (Z, Y, X), not an array of shape {array.shape}; write .h5.")
    dtype = array.dtype
    if dtype.kind in "iu" and dtype.itemsize > 2 and dtype != np.uint32:
        dtype = fitting_integer(array, (np.uint16, np.uint32, np.int32), name)
    is_ome = ".ome." in name.name.lower() or dtype not in IMAGEJ_TYPES or array.size * dtype.itemsize > CLASSIC_BYTES
    tifffile.imwrite(
        path,
        (np.ascontiguousarray(plane, dtype=dtype) for plane in array),
        shape=array.shape,
        dtype=dtype,
        imagej=not is_ome,
        ome=is_ome,
        bigtiff=is_ome and array.size * dtype.itemsize > CLASSIC_BYTES,
        photometric="minisblack",
        compression="zlib",
        **(_ome_tags(size) if is_ome else _imagej_tags(size)),
    )


@contextmanager
def complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs in this thread: a file cut short gives the planes that are left, and a log entry."""
    messages: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if record.thread == thread and (record.levelno >= logging.ERROR or any(one in message for one in PARTIAL)):
                messages.append(message)
                if len(messages) > MOST:  # a chain of damaged planes has no end
                    raise OSError(messages[0])

    handler = Collector(logging.WARNING)
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def refuse_loop(file: tifffile.TiffFile, path: Path) -> None:
    """Follow the chain of planes once, by the offset at the end of each; tifffile goes round a loop for ever.

    Raises:
        InputError: a plane is followed by one before it.
    """
    form, handle, seen = file.tiff, file.filehandle, dict[int, int]()
    offset = file.pages.first.offset
    while 0 < offset < handle.size:
        if offset in seen:
            raise InputError(
                f"{path} is damaged: plane {len(seen) - 1} is followed by plane {seen[offset]}. Copy it again."
            )
        seen[offset] = len(seen)
        handle.seek(offset)
        (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        handle.seek(tags * form.tagsize, os.SEEK_CUR)
        (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))


def refuse_partial(told: list[str], path: Path) -> None:
    """Raise an InputError if `complaints` has collected any."""
    if told:
        raise InputError(explain_tiff(path, told[0]))


def _imagej_tags(voxel_size: Sequence[float] | None) -> dict[str, Any]:
    if voxel_size is None:
        return {"metadata": {"axes": "ZYX"}}
    z, y, x = voxel_size
    return {"resolution": (1 / x, 1 / y), "metadata": {"axes": "ZYX", "spacing": z, "unit": "um"}}


def _ome_tags(voxel_size: Sequence[float] | None) -> dict[str, Any]:
    sizes = dict(zip("ZYX", voxel_size or (), strict=False))
    lengths = {f"PhysicalSize{axis}": size for axis, size in sizes.items()}
    return {"metadata": {"axes": "ZYX", **lengths, **{f"PhysicalSize{axis}Unit": "µm" for axis in sizes}}}
