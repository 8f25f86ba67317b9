"""Volumes read part by part: what the formats have in common."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from math import prod
from numbers import Integral
from pathlib import Path
from types import EllipsisType
from typing import Any, NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.absent import Absent, report_absent
from scripts.volume_io.grid import shape_of
from scripts.volume_io.paths import decoding
from scripts.volume_io.placement import Place
from scripts.volume_io.volume import Volume, check_memory, diagonal_affine, native, native_dtype, numeric

__all__ = ["ChunkedVolume", "Layout"]

Box = slice | EllipsisType | tuple[slice | EllipsisType, ...]
VoxelSize = tuple[float, float, float]


class Layout(NamedTuple):
    """What a file says of an array before any voxel is read.

    Attributes:
        name: path as given, with the dataset, for messages.
        shape: as stored, all axes.
        dtype: as stored.
        chunks: as stored; the part that is decoded at once.
        axes: which stored axes are (Z, Y, X) or (C, Z, Y, X), in this order; the others have length 1.
        voxel_size: (z, y, x) in micrometres, None where the file does not say.
        channel_names: nothing where the file does not say.
        affine: (4, 4), index (z, y, x) -> position (x, y, z) in `unit`, None where the file has only a voxel size.
        unit: "um", "mm", "m" or "unknown".
        placed: whether the file states direction and origin, so that `affine` says more than the voxel size.
        absent: what of it the file lacks.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...]
    axes: tuple[int, ...]
    voxel_size: VoxelSize | None = None
    channel_names: Sequence[str] = ()
    affine: np.ndarray | None = None
    unit: str = "um"
    placed: bool = False
    absent: Absent | None = None


class ChunkedVolume:
    """A volume of which parts are read, for volumes larger than memory: `volume[10:20, :, 5:9]`.

    It can be pickled and goes over to forked processes: it holds the name of the file, and each process opens it when
    it first reads. Threads of one process take turns. Memory: the part that is asked for, and what is decoded at once:
    a chunk of HDF5, two of Zarr (or a shard, packed), a plane of TIFF that is not stored plainly; twice the part
    where the file has its axes in another order. Between two reads nothing is kept but what the HDF5 library caches, a
    few megabytes.

    Attributes:
        name: path as given, for messages.
        shape: (Z, Y, X), or (C, Z, Y, X) when opened with `ndim=4`.
        dtype: of the arrays that it gives: native byte order, bool as uint8, float16 as float32.
        chunks: in which the file is divided, as long as `shape`; one plane where it is not divided.
        voxel_size: (z, y, x) in micrometres, None where the file does not say.
        channel_names: what the channels are, [] where the file does not say.
        absent: what of it the file lacks, None for nothing; `open_volume` has warned of it.
    """

    kind = "a volume"
    _handle: Any
    _process: int
    _lock: threading.Lock

    def __init__(self, path: Path, layout: Layout) -> None:
        numeric(layout.dtype, layout.name)
        if not all(isinstance(side, Integral) and side >= 0 for side in layout.shape):
            raise InputError(f"{layout.name}: found shape {layout.shape}; expected whole sides. Copy it again.")
        check_memory(layout.chunks, layout.dtype, f"{layout.name}, one chunk")
        self.name = layout.name
        self.shape = tuple(layout.shape[axis] for axis in layout.axes)
        self.dtype = native_dtype(layout.dtype)
        self.chunks = tuple(layout.chunks[axis] for axis in layout.axes)
        self.voxel_size = layout.voxel_size
        self.channel_names = [str(name) for name in layout.channel_names]
        self.absent = layout.absent
        self._path, self._layout = path.absolute(), layout
        self._forget()

    @property
    def place(self) -> Place:
        """Where the volume (Z, Y, X) lies."""
        return Place(self.name, self.shape, self.voxel_size, self._layout.affine if self._layout.placed else None)

    def whole(self) -> Volume:
        """Read all of it, with its geometry, and close the file. Memory: as `scripts.volume_io.read_volume` says.

        Raises:
            InputError: as for a part; it is larger than the memory that is free, or nothing of it is there.
        """
        check_memory(self.shape, self.dtype, self.name)
        report_absent(self.name, self.absent)
        try:
            array = self[...]
        finally:
            self.close()
        affine, unit, size = self._layout.affine, self._layout.unit, self.voxel_size
        if affine is None:
            affine, unit = diagonal_affine(size), "um" if size else "unknown"
        return Volume(array, size, affine, unit, self._layout.placed)

    def __getitem__(self, box: Box) -> np.ndarray:
        """Read a part; slices are those of numpy with a step of 1, and what is left out is taken whole.

        Raises:
            InputError: a chunk cannot be decoded, or the file has another shape than when this was made.
        """
        slices = self._resolved(box)
        shape = shape_of(slices)
        if 0 in shape:
            return np.empty(shape, self.dtype)
        with self._lock_of_process(), decoding(Path(self.name), self.kind):
            part = self._read(self._source(), self._stored(slices))
        return native(arranged(part, self._layout.axes))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, shape={self.shape}, dtype={self.dtype}, chunks={self.chunks})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_handle", "_process", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        with self._lock_of_process():
            if self._handle is not None:
                self._shut(self._handle)
            self._handle = None

    def _open(self) -> Any:
        """Open the file and return what `_read` reads from; it is to have a `shape`, that of the file."""
        raise NotImplementedError

    def _read(self, source: Any, box: tuple[slice, ...]) -> np.ndarray:
        """Read a part, given as a box of the stored axes."""
        return np.asarray(source[box])

    def _shut(self, source: Any) -> None:
        """Close what `_open` returned."""

    def _source(self) -> Any:
        if self._handle is None:
            source = self._open()
            if tuple(source.shape) != self._layout.shape:
                found = f"shape {tuple(source.shape)}, which was {self._layout.shape} when it was opened first"
                raise InputError(f"{self.name}: {found}. It was changed meanwhile; start again.")
            self._handle = source
        return self._handle

    def _resolved(self, box: Any) -> tuple[slice, ...]:
        given = box if isinstance(box, tuple) else (box,)
        if Ellipsis in given:
            at = given.index(Ellipsis)
            given = (*given[:at], *[slice(None)] * (len(self.shape) - len(given) + 1), *given[at + 1 :])
        if len(given) > len(self.shape) or not all(isinstance(s, slice) and s.step in (None, 1) for s in given):
            expected = f"at most {len(self.shape)} slices with a step of 1"
            raise InputError(f"{self.name}: {box!r} is no part of a volume of shape {self.shape}; expected {expected}.")
        given = (*given, *[slice(None)] * (len(self.shape) - len(given)))
        ends = [part.indices(size) for part, size in zip(given, self.shape, strict=True)]
        return tuple(slice(start, max(start, stop)) for start, stop, _ in ends)

    def _stored(self, slices: tuple[slice, ...]) -> tuple[slice, ...]:
        """Return the box of the stored axes, those of length 1 that were dropped among them."""
        stored = [slice(0, 1)] * len(self._layout.shape)
        for axis, part in zip(self._layout.axes, slices, strict=True):
            stored[axis] = part
        return tuple(stored)

    def _lock_of_process(self) -> threading.Lock:
        if self._process != os.getpid():  # forked: the parent's file has a position that both would move
            if self._handle is not None:
                self._shut(self._handle)
            self._forget()
        return self._lock

    def _forget(self) -> None:
        self._handle = None
        self._process = os.getpid()
        self._lock = threading.Lock()


def plane_chunks(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the chunks of an array that is not divided: one plane."""
    return (*[1] * (len(shape) - 2), *shape[-2:])


def arranged(part: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Bring a part of the stored array to the order of `axes`; the other axes have length 1. Copies if it must."""
    others = [axis for axis in range(part.ndim) if axis not in axes]
    part = part.transpose(*axes, *others)
    return np.ascontiguousarray(part.reshape(part.shape[: len(axes)]))


def nbytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """Return the bytes of an array."""
    return prod(shape) * dtype.itemsize
