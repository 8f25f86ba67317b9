"""Volumes in Zarr stores, version 2 and 3 and OME-Zarr: which array is meant, reading and writing it part by part."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scripts.errors import InputError
from scripts.volume_io.chunked import Box, ChunkedVolume, Layout, kept_axes
from scripts.volume_io.hdf5 import NAMES_ATTRIBUTE, SIZE_ATTRIBUTES
from scripts.volume_io.ome import Multiscale, multiscale_of
from scripts.volume_io.paths import is_zarr
from scripts.volume_io.volume import as_voxel_size, native, native_dtype, numeric
from scripts.volume_io.zarr_array import ZarrArray, open_array
from scripts.volume_io.zarr_node import Node, arrays_below, make_group, node_at, write_array

__all__ = ["ZarrVolume", "create_zarr", "open_parts", "open_zarr_for_writing"]

VoxelSize = tuple[float, float, float]


class ZarrVolume(ChunkedVolume):
    """An array of a Zarr store; parts can be written, too: `volume[10:20, :, 5:9] = array`.

    A chunk is replaced at once when it was written whole (see `scripts.volume_io.zarr_array`), so that a run that was
    stopped leaves no chunk half written, and several processes may write different chunks. A part that does not cover
    whole chunks makes these be read, changed and written: let parts be multiples of `chunks`.
    """

    kind = "Zarr"

    def __init__(self, node: Node, layout: Layout) -> None:
        super().__init__(layout)
        self._path, self._format = node.path.absolute(), node.zarr_format

    def __setitem__(self, box: Box, array: np.ndarray) -> None:
        """Write a part, given as for reading.

        Raises:
            InputError: the array has another type or shape than the part, or it cannot be written.
        """
        slices = self._resolved(box)
        shape = tuple(part.stop - part.start for part in slices)
        array = native(np.asarray(array))
        if array.shape != shape or array.dtype != self.dtype:
            found = f"an array of {array.dtype}, shape {array.shape}"
            raise InputError(f"{self.name}: {found}, to be written to {box}; expected {self.dtype}, shape {shape}.")
        if 0 in shape:
            return
        stored = self._stored(slices)
        array = array.reshape([part.stop - part.start for part in stored]).astype(self._layout.dtype, copy=False)
        with self._lock_of_process():
            source: ZarrArray = self._source()
            try:
                source.write(stored, array)
            except (ValueError, OSError) as error:
                raise InputError(f"{self.name} cannot be written: {_first_words(error)}") from error

    def _open(self) -> ZarrArray:
        return open_array(self._path, self._format)

    def _read(self, source: ZarrArray, box: tuple[slice, ...]) -> np.ndarray:
        try:
            return source.read(box)
        except (ValueError, OSError) as error:
            raise ValueError(_first_words(error)) from error


class _Choice(NamedTuple):
    """An array, the axes it is said to have ("" where nothing is said), and what is known of it."""

    node: Node
    axes: str
    voxel_size: VoxelSize | None
    channel_names: Sequence[str]


def open_parts(
    path: Path, name: str, dataset: str | None, ndim: int, voxel_size: Sequence[float] | None = None
) -> ZarrVolume:
    """Open an array of a store, see `scripts.volume_io.open_volume`; only metadata are read.

    Raises:
        InputError: no store, no such array or several to choose from, other axes than asked for, or no numbers.
    """
    chosen = _choose(path, dataset, ndim, voxel_size)
    node = chosen.node
    axes = _volume_axes(chosen, ndim)
    layout = Layout(name, node.shape, node.dtype, node.chunks, axes, chosen.voxel_size, chosen.channel_names)
    return ZarrVolume(node, layout)


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
    folder = file / dataset
    if (there := node_at(folder)) is not None and there.is_array:
        _refuse_other(there, sizes, kind, parts, zarr_format)
    else:
        for group in reversed([folder, *folder.parents][1 : 1 + len(Path(dataset).parts)]):
            make_group(group, zarr_format)
        attributes = {SIZE_ATTRIBUTES[0]: size} if size else {}
        attributes |= {NAMES_ATTRIBUTE: list(channel_names)} if channel_names else {}  # type: ignore[dict-item]
        write_array(folder, zarr_format, sizes, kind, parts, fill_value, attributes)
    return open_zarr_for_writing(file, dataset)


def open_zarr_for_writing(path: str | os.PathLike[str], dataset: str = "0") -> ZarrVolume:
    """Open an array that is there, to write parts of it.

    Raises:
        InputError: there is none, or it is no volume.
    """
    file = Path(os.path.expanduser(os.fspath(path)))
    node = node_at(file / dataset)
    if node is None or not node.is_array:
        raise InputError(f"{file}: no array {dataset!r}; it has: {_listing(file)}. Make it by create_zarr.")
    return open_parts(file, f"{os.fspath(path)}::{dataset}" if dataset else os.fspath(path), dataset, len(node.shape))


def require_store(path: Path) -> None:
    """See that a folder is a store, or lies in one.

    Raises:
        InputError: it has no metadata.
    """
    if node_at(path) is None:
        names = sorted(entry.name for entry in path.iterdir())[:6]
        found = f"a folder with {', '.join(names) or 'nothing in it'}, without metadata of Zarr"
        raise InputError(f"{path}: {found}; expected .zarray, .zgroup or zarr.json. Was it copied whole?")


def _choose(path: Path, dataset: str | None, ndim: int, voxel_size: Sequence[float] | None) -> _Choice:
    require_store(path)
    node = node_at(path / (dataset or "").strip("/"))
    if node is None:
        raise InputError(f"{path}: no array or group {dataset!r}; it has: {_listing(path)}.")
    images = list(_images(node))
    if len(images) == 1:
        return _level(*images[0], voxel_size)
    arrays = [below for below in arrays_below(node)] if not images else []
    fitting = [array for array in arrays if len(kept_axes(array.shape, ndim)) == ndim]
    if len(arrays) == 1 or len(fitting) == 1:
        return _known(next(iter(fitting or arrays)))
    raise InputError(f"{path}: which array? It has: {_listing(path)}. Name one that is {ndim}D: {path}::name.")


def _images(node: Node) -> Iterator[tuple[Node, Multiscale]]:
    """Give the multiscale images at or below a group, but not the labels that belong to an image."""
    if node.is_array:
        return
    if (image := multiscale_of(node)) is not None:
        yield node, image
        return
    for folder in sorted(entry for entry in node.path.iterdir() if entry.is_dir()):
        if (below := node_at(folder)) is not None:
            yield from _images(below)


def _level(node: Node, image: Multiscale, wanted: Sequence[float] | None) -> _Choice:
    """Choose the level whose voxels are nearest in size to those wanted."""
    chosen = image.levels[0]
    sized = [(level, level.voxel_size) for level in image.levels if level.voxel_size is not None]
    if wanted is not None and sized:
        distances = [np.abs(np.log(np.divide(size, wanted))).sum() for _, size in sized]
        chosen, lengths = sized[int(np.argmin(distances))]
        size = " x ".join(f"{length:.4g}" for length in lengths)
        logging.getLogger(__name__).info("%s: level %s, of voxels of %s µm (z, y, x).", node.path, chosen.path, size)
    array = node_at(node.path / chosen.path)
    if array is None or not array.is_array:
        raise InputError(f"{node.path}: its metadata name a level {chosen.path!r}, which is not there. Copy it anew.")
    return _Choice(array, image.axes, chosen.voxel_size, image.channel_names)


def _known(array: Node) -> _Choice:
    """Look what the groups above an array, as far as the store goes, and its own attributes say of it."""
    folder = array.path
    while is_zarr(folder.parent):
        folder = folder.parent
        above = node_at(folder)
        image = multiscale_of(above) if above is not None else None
        for level in image.levels if image is not None else ():
            if image is not None and folder / level.path == array.path:
                return _Choice(array, image.axes, level.voxel_size, image.channel_names)
    size = next((as_voxel_size(array.attributes[name]) for name in SIZE_ATTRIBUTES if name in array.attributes), None)
    return _Choice(array, "", size, array.attributes.get(NAMES_ATTRIBUTE, ()))


def _volume_axes(chosen: _Choice, ndim: int) -> tuple[int, ...]:
    """Return which stored axes are (C,) Z, Y, X.

    Raises:
        InputError: there are others, or these are not there.
    """
    shape, names = chosen.node.shape, chosen.axes
    expected = "(Z, Y, X)" if ndim == 3 else "(C, Z, Y, X)"
    found = f"{chosen.node.path}: {len(shape)}D, {f'axes {names} of ' if names else ''}shape {shape}"
    axes = kept_axes(shape, ndim)
    if len(names) == len(shape):  # named: only the others may be dropped, whatever the lengths
        wanted = "zyx" if ndim == 3 else "czyx"
        axes = tuple(axis for axis, name in enumerate(names) if name in wanted)
        if "".join(names[axis] for axis in axes) != wanted or any(
            size > 1 for axis, size in enumerate(shape) if axis not in axes
        ):
            axes = ()
    if len(axes) != ndim:
        raise InputError(f"{found}; expected {expected}. Save one channel, one time point.")
    return axes


def _refuse_other(
    node: Node, shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...], zarr_format: int
) -> None:
    there = (node.shape, node.dtype, node.chunks, node.zarr_format)
    if there != (shape, dtype, chunks, zarr_format):
        found, expected = (
            f"{kind} of shape {sizes} in chunks of {parts}, version {version}"
            for sizes, kind, parts, version in (there, (shape, dtype, chunks, zarr_format))
        )
        raise InputError(f"{node.path}: there is an array already, {found}; expected {expected}. Remove it first.")


def _listing(path: Path) -> str:
    node = node_at(path)
    arrays = list(arrays_below(node)) if node is not None else []
    named = [f"{array.path.relative_to(path)} {array.shape} {array.metadata.get('dtype', '')}" for array in arrays[:12]]
    return ", ".join(text.strip() for text in named) + (", …" if len(arrays) > 12 else "") or "none"


def _first_words(error: Exception) -> str:
    """Return what TensorStore says without the specification that it adds."""
    return str(error).partition(" [tensorstore_spec=")[0].partition(" [source locations=")[0]
