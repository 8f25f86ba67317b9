"""Voxels of Zarr arrays, by TensorStore; also in forked processes, which TensorStore would end."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

__all__ = ["ZarrArray", "open_array"]

Box = tuple[slice, ...]
DRIVERS = {2: "zarr", 3: "zarr3"}
# No cache: what was read is not kept.
LIMITS = {
    "cache_pool": {"total_bytes_limit": 0},
    "data_copy_concurrency": {"limit": 2},
    "file_io_concurrency": {"limit": 4},
}
START = "import sys; sys.path[:] = {path!r}; from scripts.volume_io.zarr_array import serve; serve()"


class ZarrArray(Protocol):
    """An array that parts are read from and written to; a box has a slice with both ends for each axis."""

    shape: tuple[int, ...]

    def read(self, box: Box) -> np.ndarray:
        """Read a part. Memory: the part, and one layer of chunks of it (along the first axis), packed and unpacked."""

    def write(self, box: Box, array: np.ndarray) -> None:
        """Write a part; chunks that are covered in part are read first. Memory: one layer of chunks of it.

        TensorStore writes each chunk to a file beside it (`….__lock`), syncs and renames it: a reader, or the next run
        after this one was killed, finds the old chunk or the new one.
        """


def open_array(path: Path, zarr_format: int) -> ZarrArray:
    """Open an existing array, by itself or, in a process that was forked after TensorStore had started, by a helper.

    TensorStore has threads, which a fork does not copy, and ends a forked process that uses it. A data loader's workers
    are such processes where their parent has read Zarr. So each has a helper: a fresh Python that reads for it and ends
    with it, at about 0.1 GB and half a second.
    """
    return _HelpedArray(path, zarr_format) if _forked else _Array(path, zarr_format)


class _Array:
    def __init__(self, path: Path, zarr_format: int) -> None:
        import tensorstore  # started by its first use, see `open_array`

        spec = {
            "driver": DRIVERS[zarr_format],
            "kvstore": {"driver": "file", "path": f"{path}/"},
            "recheck_cached_data": "open",
            "store_data_equal_to_fill_value": True,  # so that a chunk that is not there was never written
        }
        self._store = tensorstore.open(spec, open=True, context=tensorstore.Context(LIMITS)).result()
        self.shape = tuple(int(size) for size in self._store.shape)
        layout: Any = self._store.chunk_layout
        self._depths = layout.read_chunk.shape[0], layout.write_chunk.shape[0]

    def read(self, box: Box) -> np.ndarray:
        part = np.empty([one.stop - one.start for one in box], self._store.dtype.numpy_dtype)
        for inside, layer in _layers(box, self._depths[0]):
            part[inside] = self._store[layer].read().result()
        return part

    def write(self, box: Box, array: np.ndarray) -> None:
        for inside, layer in _layers(box, self._depths[1]):
            self._store[layer].write(array[inside]).result()


def _layers(box: Box, depth: int) -> Iterator[tuple[slice, Box]]:
    """Divide a box where chunks begin along the first axis: TensorStore holds all the packed chunks of what it reads.

    Args:
        box: of the array.
        depth: of a chunk.

    Yields:
        The layer as a part of the box's first axis, and as a box of the array.
    """
    first, others = box[0], box[1:]
    for start in range(first.start - first.start % depth, first.stop, depth):
        layer = slice(max(start, first.start), min(start + depth, first.stop))
        yield slice(layer.start - first.start, layer.stop - first.start), (layer, *others)


class _HelpedArray:
    def __init__(self, path: Path, zarr_format: int) -> None:
        self._key = (path, zarr_format)
        self.shape = _ask(self._key, "shape")

    def read(self, box: Box) -> np.ndarray:
        return _ask(self._key, "read", _ends(box))

    def write(self, box: Box, array: np.ndarray) -> None:
        _ask(self._key, "write", _ends(box), array)


_forked = False
_helper: subprocess.Popen[bytes] | None = None
_turn = threading.Lock()


def _after_fork() -> None:
    global _forked, _helper, _turn
    _forked = _forked or "tensorstore" in sys.modules
    _helper, _turn = None, threading.Lock()  # the parent's helper answers the parent


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)


def _ends(box: Box) -> tuple[tuple[int, int], ...]:
    return tuple((part.start, part.stop) for part in box)  # slices cannot be pickled before Python 3.12


def _ask(*request: Any) -> Any:
    """Have the helper do something; what it raises is raised here."""
    global _helper
    with _turn:
        if _helper is None or _helper.poll() is not None:
            command = [sys.executable, "-c", START.format(path=sys.path)]
            _helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert _helper.stdin is not None and _helper.stdout is not None
        try:
            pickle.dump(request, _helper.stdin, protocol=5)
            _helper.stdin.flush()
            answer = pickle.load(_helper.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise OSError("the process that handles Zarr for this one has ended, for want of memory?") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def serve(requests: IO[bytes] | None = None, answers: IO[bytes] | None = None) -> None:
    """Answer the requests of `_ask` until there are no more: what the helper does."""
    requests, answers = requests or sys.stdin.buffer, answers or sys.stdout.buffer
    arrays: dict[Any, ZarrArray] = {}
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:  # the process that asked has ended
            return
        pickle.dump(_answer(arrays, *request), answers, protocol=5)
        answers.flush()


def _answer(arrays: dict[Any, ZarrArray], key: tuple[Path, int], what: str, *details: Any) -> Any:
    try:
        if key not in arrays or what == "shape":
            arrays[key] = _Array(*key)
        if what == "shape":
            return arrays[key].shape
        box, *array = details
        return getattr(arrays[key], what)(tuple(slice(*ends) for ends in box), *array)
    except Exception as error:
        return type(error)(*error.args)
