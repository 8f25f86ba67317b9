"""TIFF stacks, read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scripts.errors import InputError
from scripts.volume_io import tiff
from scripts.volume_io.chunked import ChunkedVolume, Layout, nbytes, plane_chunks
from scripts.volume_io.paths import decoding
from scripts.volume_io.tiff_header import as_meant, meant_type, volume_axes, voxel_size
from scripts.volume_io.tiff_member import absent_parts, check_named, check_opened

__all__ = ["TiffVolume", "open_parts"]


class TiffVolume(ChunkedVolume):
    """A stack; the file stays open in each process that reads, until `close`."""

    kind = "TIFF"

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(layout)
        self._path = path.absolute()

    def _open(self) -> Any:
        with tiff.complaints() as told:
            stack = _Stack(tifffile.TiffFile(self._path))
            tiff.refuse_partial(told, self._path)
        return stack

    def _read(self, source: _Stack, box: tuple[slice, ...]) -> np.ndarray:
        with tiff.complaints() as told:
            part = source.read(box)
            tiff.refuse_partial(told, self._path)
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
        if self.mapped is not None:
            return np.array(self.mapped[box])
        sides = [part.stop - part.start for part in box]
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
    """Open a stack; the errors are those of `tiff.read`."""
    with tiff.complaints() as told, decoding(path, "TIFF"), tifffile.TiffFile(path) as file:
        tiff.refuse_loop(file, path)
        check_named(file, path)
        series = file.series[0]
        tiff.refuse_partial(told, path)
        check_opened(file, path)
        axes, size = volume_axes(file, path), voxel_size(file)
        stored = meant_type(file).newbyteorder(file.byteorder)
        layout = Layout(str(path), tuple(series.shape), stored, plane_chunks(series.shape), axes, size)
        layout = layout._replace(absent=absent_parts(series))
        return TiffVolume(path, layout)
