"""Arrays and groups of Zarr stores on this machine, read and written by the package zarr.

Imported where a store is read or written only: zarr takes half a second to start.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import zarr
from scripts.volume_io.replacement import replacing
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.errors import ContainsArrayError, ContainsGroupError
from zarr.storage import LocalStore

__all__ = ["complete_attributes", "make_array", "open_array", "read_part", "write_group", "write_part"]

Array = zarr.Array[Any]
Box = tuple[slice, ...]
_waiting = WeakSet[asyncio.Task[Any]]()

# Two chunks at a time are in memory, packed and unpacked, and two threads decode them.
zarr.config.set({"async.concurrency": 2, "threading.max_workers": 2})

# Blosc with Zstandard and byte shuffle: read by zarr, napari and Neuroglancer in both versions, and small for labels.
BLOSC = {"cname": "zstd", "clevel": 3, "blocksize": 0}


class FolderStore(LocalStore):
    """The files of one array or group.

    A file is written beside its place, synced and renamed: a reader, or the next run after this one was killed or the
    machine lost power, finds the old chunk or the new one.

    Attributes:
        stopped: nothing more is read or written.
    """

    stopped = False

    async def _open(self, **_: Any) -> None:
        self._is_open = True  # and no folder is made, as LocalStore does it, where there is none to be read

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        # Not in another thread, as LocalStore does it: to hand a chunk over takes longer than to read it.
        self._check()
        return self.get_sync(key, prototype=prototype, byte_range=byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        self._check()
        await asyncio.to_thread(_replace, self.root / key, value)

    def _check(self) -> None:
        if self.stopped:
            raise InterruptedError("stopped")


def _replace(path: Path, value: Buffer) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(value.as_buffer_like())
        file.flush()
        os.fsync(file.fileno())


def _place(path: Path, zarr_format: int) -> dict[str, Any]:
    return {"store": FolderStore(path), "zarr_format": zarr_format}


def open_array(path: Path, zarr_format: int) -> Array:
    """Open an existing array, to read and to write."""
    array = zarr.open_array(**_place(path, zarr_format), mode="r+")
    return array.with_config({"write_empty_chunks": True})  # so that a chunk that is not there was never written


def read_part(array: Array, box: Box) -> np.ndarray:
    """Read a part. Memory: the part, and two chunks, or one shard, packed and unpacked.

    Raises:
        OSError: the file system cannot read a chunk.
        ValueError: a chunk cannot be decoded; the message has its file as `chunk "…"`.
    """
    try:
        with _together(array):
            return np.asarray(array[box])
    except (OSError, MemoryError):
        raise
    except Exception as error:  # codecs raise errors of many kinds, and do not name the chunk
        said = str(error)  # and no more, which would keep what was decoded
    for chunk, file in _chunks(array, box):
        try:
            with _together(array):
                array[chunk]
        except Exception as error:
            raise ValueError(f'chunk "{file}": {error}') from error
    raise ValueError(said)


def _chunks(array: Array, box: Box) -> Iterator[tuple[Box, Path]]:
    """Give the chunks that lie in a box, cut to it, and their files."""
    root, sides = _store(array).root, array.shards or array.chunks
    spans = (range(part.start // side, -(-part.stop // side)) for part, side in zip(box, sides, strict=True))
    for place in itertools.product(*spans):
        whole = (slice(i * side, (i + 1) * side) for i, side in zip(place, sides, strict=True))
        cut = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(whole, box, strict=True))
        yield tuple(cut), root / array.metadata.encode_chunk_key(place)


def write_part(array: Array, box: Box, part: np.ndarray) -> None:
    """Write a part; chunks that are covered in part are read first. Memory: two chunks, packed and unpacked."""
    with _together(array):
        array[box] = part


@contextmanager
def _together(array: Array) -> Iterator[None]:
    """Work on several chunks at a time; where one fails, or Ctrl-C is pressed, the others end before this does.

    zarr leaves them to go on, and to complain when the program ends.
    """
    store = _store(array)
    try:
        yield
    except BaseException:
        store.stopped = True
        try:
            sync(_others())
        finally:
            store.stopped = False
        raise


async def _others() -> None:
    task: Any = asyncio.current_task()
    _waiting.add(task)  # two threads may wait: the second one does not wait for the first one
    if tasks := asyncio.all_tasks().difference(_waiting):
        await asyncio.wait(tasks)


def _store(array: Array) -> FolderStore:
    assert isinstance(array.store, FolderStore)
    return array.store


def make_array(
    path: Path,
    zarr_format: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunks: tuple[int, ...],
    fill_value: float,
    attributes: Mapping[str, Any],
) -> None:
    """Make an array that has no chunk yet; what is not written later is `fill_value`. One that is there stays."""
    shuffle = dtype.itemsize > 1
    options: dict[str, Any] = {"compressors": {"id": "blosc", **BLOSC, "shuffle": int(shuffle)}}
    if zarr_format == 3:
        blosc = {**BLOSC, "shuffle": "shuffle" if shuffle else "noshuffle", "typesize": dtype.itemsize}
        options = {"compressors": {"name": "blosc", "configuration": blosc}}
        options |= {"dimension_names": ["c", "z", "y", "x"][-len(shape) :]}
    with suppress(ContainsArrayError):  # that another process made meanwhile
        zarr.create_array(
            **_place(path, zarr_format),
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            fill_value=float(fill_value) if dtype.kind == "f" else int(fill_value),
            attributes=dict(attributes),
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
            **options,
        )


def complete_attributes(path: Path, zarr_format: int, attributes: Mapping[str, Any]) -> None:
    """Give an array the attributes that it lacks: version 2 has a file for them, which a kill can prevent."""
    array = open_array(path, zarr_format)
    if missing := {key: value for key, value in attributes.items() if key not in array.attrs}:
        array.update_attributes(missing)


def write_group(path: Path, zarr_format: int, attributes: Mapping[str, Any]) -> None:
    """Make a folder a group, if it is none, and set its attributes."""
    with suppress(ContainsGroupError):  # that was there, or that another process made meanwhile
        zarr.create_group(**_place(path, zarr_format), attributes=dict(attributes))
    group = zarr.open_group(**_place(path, zarr_format), mode="r+", use_consolidated=False)
    if group.attrs.asdict() != attributes:
        group.update_attributes(dict(attributes))
