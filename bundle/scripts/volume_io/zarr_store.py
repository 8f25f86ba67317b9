"""Volumes in Zarr stores, version 2 and 3 and OME-Zarr, read and written part by part."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scripts.errors import InputError, unwritable
from scripts.volume_io.absent import Absent
from scripts.volume_io.attribute import NAMES_ATTRIBUTE, SIZE_ATTRIBUTES
from scripts.volume_io.chunked import Box, ChunkedVolume, Layout
from scripts.volume_io.grid import shape_of
from scripts.volume_io.member import store_of
from scripts.volume_io.paths import is_zarr
from scripts.volume_io.unit import as_voxel_size
from scripts.volume_io.volume import native, native_dtype, numeric
from scripts.volume_io.zarr_choice import Choice, choose, listing, volume_axes
from scripts.volume_io.zarr_member import absent_chunks
from scripts.volume_io.zarr_node import Node, node_at, write_attributes

__all__ = ["ZarrVolume", "create_zarr", "open_parts", "open_zarr_for_writing"]


class ZarrVolume(ChunkedVolume):
    """An array of a Zarr store; parts can be written, too: `volume[10:20, :, 5:9] = array`.

    A chunk is replaced at once when it was written whole (see `scripts.volume_io.zarr_array`), so that a run that was
    stopped leaves no chunk half written, and several processes may write different chunks. A part that does not cover
    whole chunks makes these be read, changed and written, which one process at a time may do: let parts be multiples of
    `chunks`.
    """

    kind = "Zarr"

    def __init__(self, node: Node, layout: Layout) -> None:
        super().__init__(node.path.resolve(), layout)
        self._format = node.zarr_format

    def __setitem__(self, box: Box, array: np.ndarray) -> None:
        """Write a part, given as for reading.

        Raises:
            InputError: the array has another type or shape than the part, or it cannot be written.
        """
        slices = self._resolved(box)
        shape = shape_of(slices)
        array = native(np.asarray(array))
        if array.shape != shape or array.dtype != self.dtype:
            found = f"an array of {array.dtype}, shape {array.shape}"
            raise InputError(f"{self.name}: {found}, to be written to {box}; expected {self.dtype}, shape {shape}.")
        if 0 in shape:
            return
        stored = self._stored(slices)
        array = self._to_stored(array).astype(self._layout.dtype, copy=False)
        from scripts.volume_io import zarr_array

        with self._lock_of_process():
            source = self._source()
            try:
                zarr_array.write_part(source, stored, array)
            except InputError:
                raise
            except Exception as error:  # of a codec, where a chunk is changed in part
                raise InputError(f"{self.name} cannot be written: {error}") from error

    def _to_stored(self, array: np.ndarray) -> np.ndarray:
        """Undo `arranged`: give the part the order of the stored axes, and those of length 1."""
        axes = self._layout.axes
        others = [axis for axis in range(len(self._layout.shape)) if axis not in axes]
        return array.reshape(*array.shape, *[1] * len(others)).transpose(np.argsort([*axes, *others]))

    def _open(self) -> Any:
        from scripts.volume_io import zarr_array

        return zarr_array.open_array(self._path, self._format)

    def _read(self, source: Any, box: tuple[slice, ...]) -> np.ndarray:
        from scripts.volume_io import zarr_array

        return zarr_array.read_part(source, box)


def open_parts(
    path: Path, name: str, dataset: str | None, ndim: int, voxel_size: Sequence[float] | None = None
) -> ZarrVolume:
    """Open an array of a store, see `scripts.volume_io.open_volume`; only metadata are read.

    Raises:
        InputError: no store, no such array or several to choose from, other axes than asked for, or no numbers.
    """
    chosen = choose(path, dataset, ndim, voxel_size)
    axes = volume_axes(chosen, ndim)
    return _volume(chosen, name, axes, absent_chunks(store_of(path), chosen.node))


def create_zarr(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    dtype: np.typing.DTypeLike,
    chunks: Sequence[int],
    voxel_size: Sequence[float] | None = None,
    channel_names: Sequence[str] = (),
    *,
    zarr_format: int = 2,
    fill_value: float = 0,
    dataset: str = "0",
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> ZarrVolume:
    """Make an array in a store, or open the one that is there if it is of the same kind, so that a rerun goes on.

    Chunks are compressed by Blosc (Zstandard, bytes shuffled); those never written take no space.

    Args:
        path: the store, a folder that ends in .zarr.
        shape: (Z, Y, X) or (C, Z, Y, X).
        dtype: bool is stored as uint8, float16 as float32.
        chunks: as long as `shape`; cut to it.
        voxel_size: (z, y, x) in micrometres, kept with the array.
        channel_names: what the channels are, kept with the array.
        zarr_format: 2 or 3.
        fill_value: what is read where nothing was written.
        dataset: path of the array in the store; folders on the way become groups.
        attributes: names and texts kept with the store; they replace earlier ones of the same name.

    Raises:
        InputError: there is an array of another shape, type, division or version, the name does not end in .zarr,
            or the store cannot be written.
    """
    file, kind = Path(os.path.expanduser(os.fspath(path))), native_dtype(np.dtype(dtype))
    numeric(kind, file)
    sizes = tuple(int(size) for size in shape)
    parts = tuple(min(int(chunk), size) for chunk, size in zip(chunks, sizes, strict=True))
    size = as_voxel_size(voxel_size)
    if zarr_format not in (2, 3) or len(sizes) not in (3, 4) or min(*sizes, *parts) < 1 or not is_zarr(file):
        found = f"shape {sizes}, chunks {parts}, version {zarr_format}"
        raise InputError(f"{file}: {found}; expected a name that ends in .zarr, 3 or 4 positive sides, version 2 or 3.")
    if voxel_size is not None and size is None:
        raise InputError(f"{file}: voxel size {voxel_size!r}; expected three positive micrometres (z, y, x).")
    from scripts.volume_io import zarr_array

    folder = file / dataset
    stated: dict[str, Any] = {SIZE_ATTRIBUTES[0]: list(size)} if size else {}
    stated |= {NAMES_ATTRIBUTE: list(channel_names)} if channel_names else {}
    try:
        if (node := node_at(folder)) is None or _is_begun(node):
            for group in reversed([folder, *folder.parents][1 : 1 + len(Path(dataset).parts)]):
                write_attributes(group, zarr_format, {})
            zarr_array.make_array(folder, zarr_format, sizes, kind, parts, fill_value, stated)
    except OSError as error:
        raise unwritable(folder, error) from error
    _check_same(folder, sizes, kind, parts, zarr_format)
    zarr_array.complete_attributes(folder, zarr_format, stated)
    if attributes:
        write_attributes(file, zarr_format, attributes)
    return open_zarr_for_writing(file, dataset)


def open_zarr_for_writing(path: str | os.PathLike[str], dataset: str = "0") -> ZarrVolume:
    """Open an array that is there, to write parts of it.

    Raises:
        InputError: there is none, or it is no volume.
    """
    file = Path(os.path.expanduser(os.fspath(path)))
    node = node_at(file / dataset)
    if node is None or not node.is_array:
        raise InputError(f"{file}: no array {dataset!r}; it has: {listing(file)}. Make it by create_zarr.")
    chosen = choose(file, dataset, len(node.shape), None)
    name = f"{os.fspath(path)}::{dataset}" if dataset else os.fspath(path)
    return _volume(chosen, name, volume_axes(chosen, len(node.shape)), None)  # what is not there is still to be written


def _volume(chosen: Choice, name: str, axes: tuple[int, ...], absent: Absent | None) -> ZarrVolume:
    node, names = chosen.node, chosen.channel_names
    return ZarrVolume(
        node, Layout(name, node.shape, node.dtype, node.chunks, axes, chosen.voxel_size, names, absent=absent)
    )


def _is_begun(node: Node) -> bool:
    """Whether an array of version 2 has attributes alone: another process makes it now, or was killed meanwhile."""
    is_whole = node.is_array or node.zarr_format == 3 or (node.path / ".zgroup").is_file()
    return not (is_whole or any(entry.is_dir() for entry in node.path.iterdir()))


def _check_same(
    folder: Path, shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...], zarr_format: int
) -> None:
    node = node_at(folder)
    if node is None or not node.is_array:
        raise InputError(f"{folder}: there is a group already; expected an array or nothing. Choose another name.")
    there = (node.shape, node.dtype, node.chunks, node.zarr_format)
    if there != (shape, dtype, chunks, zarr_format):
        found, expected = (
            f"{kind} of shape {sizes} in chunks of {parts}, version {version}"
            for sizes, kind, parts, version in (there, (shape, dtype, chunks, zarr_format))
        )
        raise InputError(f"{folder}: there is an array already, {found}; expected {expected}. Remove it first.")
