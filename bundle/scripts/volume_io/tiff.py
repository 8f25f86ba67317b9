"""TIFF stacks: plain, ImageJ and OME."""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scripts.errors import InputError
from scripts.volume_io.cause import explain_tiff
from scripts.volume_io.chunked import ChunkedVolume, Layout, nbytes, plane_chunks
from scripts.volume_io.grid import shape_of
from scripts.volume_io.paths import decoding
from scripts.volume_io.tiff_header import as_meant, meant_type, volume_axes, voxel_size
from scripts.volume_io.tiff_member import absent_parts, check_named, check_opened
from scripts.volume_io.volume import fitting_integer

__all__ = ["TiffVolume", "open_parts", "write"]

IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
# classic TIFF has 32-bit offsets; the directories of the planes need some of that room
CLASSIC_BYTES = 2**32 - 2**26
# of warnings, those by which tifffile says that it gives a part
PARTIAL = ("data are zeroed", "is missing files")
# complaints after which a file is given up
MOST = 100


class TiffVolume(ChunkedVolume):
    """A stack; the file stays open in each process that reads, until `close`."""

    kind = "TIFF"

    def _open(self) -> Any:
        with complaints() as told:
            stack = _Stack(tifffile.TiffFile(self._path))
            refuse_partial(told, self._path)
        return stack

    def _read(self, source: _Stack, box: tuple[slice, ...]) -> np.ndarray:
        with complaints() as told:
            part = source.read(box)
            refuse_partial(told, self._path)
        return as_meant(part, self._layout.dtype)

    def _shut(self, source: _Stack) -> None:
        source.file.close()


class _Stack:
    """The planes of an open file."""

    def __init__(self, file: tifffile.TiffFile) -> None:
        self.file = file
        (self.series,) = file.series
        self.shape = tuple(self.series.shape)
        self.dtype = self.series.dtype.newbyteorder(file.byteorder)
        self.mapped: np.ndarray | None = None
        offset = self.series.dataoffset  # None unless the planes lie one after the other, uncompressed
        if offset:
            there, due = file.filehandle.size, offset + nbytes(self.shape, self.dtype)
            if there < due:
                raise InputError(f"{file.filename} is damaged or cut short: {there} of {due} bytes. Copy it again.")
            self.mapped = np.memmap(file.filehandle.path, self.dtype, "r", offset, self.shape)

    def read(self, box: tuple[slice, ...]) -> np.ndarray:
        if (sides := shape_of(box)) == tuple(self.shape):
            return self.series.asarray()  # faster than plane by plane
        if self.mapped is not None:
            return np.array(self.mapped[box])
        part = np.empty(sides, self.dtype)
        pages = len(self.series.pages)
        outer = next(axis for axis in range(len(sides)) if prod(self.shape[:axis]) == pages)
        planes = part.reshape(-1, *sides[outer:])
        wanted = np.arange(pages).reshape(self.shape[:outer])[box[:outer]]
        for plane, index in zip(planes, wanted.ravel(), strict=True):
            page = self.series.pages[int(index)]
            if page is None:
                plane[...] = self.series.keyframe.nodata
                continue
            with _opened(page.parent.filehandle):
                plane[...] = page.asarray().reshape(self.shape[outer:])[box[outer:]]
        return part


@contextmanager
def _opened(handle: tifffile.FileHandle) -> Iterator[None]:
    """Open another file of an OME-TIFF while a plane of it is read."""
    if not handle.closed:
        yield
        return
    handle.open()
    try:
        yield
    finally:
        handle.close()


def open_parts(path: Path) -> TiffVolume:
    """Open a stack.

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
        axes, size = volume_axes(file, path), voxel_size(file)
        stored = meant_type(file).newbyteorder(file.byteorder)
        layout = Layout(str(path), tuple(series.shape), stored, plane_chunks(series.shape), axes, size)
        layout = layout._replace(absent=absent_parts(series))
        return TiffVolume(path, layout)


def write(path: Path, array: np.ndarray, size: Sequence[float] | None, name: Path, labels: bool = False) -> None:
    """Write (Z, Y, X) plane by plane, zlib-compressed. Memory: a few planes beside the array.

    ImageJ's description is used where it can say the type (uint8, uint16, float32) and the file stays below 4 GB, OME's
    otherwise and for names that end in .ome.tif. Integers of 32 and 64 bits become the smallest of uint16, uint32 and
    int32 that holds them all.

    Args:
        path: where to write.
        array: (Z, Y, X).
        size: (z, y, x) of a voxel in micrometres.
        name: the file's final name, for its ending and for messages.
        labels: whether these are labels, which ImageJ is to show from 0 to the largest.

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
        **(_ome_tags(size) if is_ome else _imagej_tags(size, int(array.max()) if labels else 0)),
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


def _imagej_tags(voxel_size: Sequence[float] | None, largest: int) -> dict[str, Any]:
    """Tags of a stack; ImageJ shows grey values from 0 to `largest`, or from a range of its own where that is 0."""
    shown: dict[str, Any] = {"axes": "ZYX", **({"min": 0.0, "max": float(largest)} if largest else {})}
    if voxel_size is None:
        return {"metadata": shown}
    z, y, x = voxel_size
    return {"resolution": (1 / x, 1 / y), "metadata": {**shown, "spacing": z, "unit": "um"}}


def _ome_tags(voxel_size: Sequence[float] | None) -> dict[str, Any]:
    sizes = dict(zip("ZYX", voxel_size or (), strict=False))
    lengths = {f"PhysicalSize{axis}": size for axis, size in sizes.items()}
    return {"metadata": {"axes": "ZYX", **lengths, **{f"PhysicalSize{axis}Unit": "µm" for axis in sizes}}}
