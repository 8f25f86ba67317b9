"""The files of a Zarr array: metadata and chunks, of which any may be a link, and any may not be there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.absent import Absent
from scripts.volume_io.member import checked_member, store_of
from scripts.volume_io.paths import ZARR_METADATA, decoding
from scripts.volume_io.zarr_choice import choose
from scripts.volume_io.zarr_node import Node

__all__ = ["absent_chunks", "entries"]

# offset and length of an inner chunk that its shard lacks
NOTHING = 2**64 - 1
CHECKSUM = 4


def entries(path: Path, dataset: str | None) -> Iterator[Path | os.DirEntry[str]]:
    """Give the metadata of an array and of the groups above it, then its chunks.

    Raises:
        InputError: the array, or a part of it, lies outside the store; or there is no such array.
    """
    array, store = _chosen(path, dataset).path, store_of(path)
    for folder in [*reversed([one for one in array.parents if one.is_relative_to(store)]), array]:
        yield from (folder / name for name in ZARR_METADATA if (folder / name).is_file())
    yield from _chunk_files(store, array)


def absent_chunks(store: Path, array: Node) -> Absent | None:
    """Count the chunks that an array lacks; no chunk is read, of shards the index.

    Zarr takes what is not there for the fill value, and some programs leave out chunks that hold nothing else: so the
    two cannot be told apart.

    Raises:
        InputError: the array, or a chunk of it, lies outside the store, or is a link to nothing.
    """
    with decoding(array.path, "Zarr"):
        return None if 0 in array.shape else _absent(store, array)


def _absent(store: Path, array: Node) -> Absent:
    grid = _sides(array.shape, array.outer_chunks)
    shards, found = array.shards, 0
    for entry in _chunk_files(store, array.path):
        index = _index(entry.path[len(str(array.path)) + 1 :], array.metadata)
        if index is not None and len(index) == len(grid) and all(i < n for i, n in zip(index, grid, strict=True)):
            found += 1 if shards is None else _held(entry.path, index, array, shards)
    total = prod(_sides(array.shape, array.chunks))
    return Absent(max(0, total - found), total, "chunks", "are not there", array.metadata.get("fill_value") or 0)


def _held(path: str, index: tuple[int, ...], array: Node, shards: Mapping[str, Any]) -> int:
    """Return how many chunks a shard holds, but for those beyond the array; its index has 16 bytes for each."""
    sides = _sides(array.outer_chunks, array.chunks)
    size = 16 * prod(sides)
    with open(path, "rb") as file:
        if shards.get("index_location", "end") == "end":
            checksum = CHECKSUM * any(one["name"] == "crc32c" for one in shards.get("index_codecs", ()))
            file.seek(max(0, os.fstat(file.fileno()).st_size - size - checksum))
        table = file.read(size)
    if len(table) < size:
        return 0
    there = np.frombuffer(table, "<u8").reshape(*sides, 2)[..., 0] != NOTHING
    ends = zip(_sides(array.shape, array.chunks), index, sides, strict=True)
    return int(np.count_nonzero(there[tuple(slice(0, end - place * side) for end, place, side in ends)]))


def _chunk_files(store: Path, array: Path) -> Iterator[os.DirEntry[str]]:
    """Give the files of an array but its metadata, and see to links among them."""
    checked_member(store, array, "the array")
    yield from _below(store, array)


def _below(store: Path, folder: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_symlink():
                checked_member(store, Path(entry.path), "the chunk")
            if entry.is_dir():
                yield from _below(store, entry.path)
            elif entry.name not in ZARR_METADATA:
                yield entry


def _index(name: str, metadata: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the position of a chunk in the grid by its file's name below the array; None for other files."""
    encoding = metadata.get("chunk_key_encoding") or {}
    is_default = encoding.get("name") == "default"
    separator = encoding.get("configuration", {}).get("separator", "/" if is_default else ".")
    separator = metadata.get("dimension_separator", separator)
    parts = name.replace(os.sep, "/").split(separator)
    if is_default:
        parts = parts[1:] if parts[0] == "c" else []
    return tuple(map(int, parts)) if parts and all(part.isdecimal() for part in parts) else None


def _sides(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(ceil(side / chunk) for side, chunk in zip(shape, chunks, strict=True))


def _chosen(path: Path, dataset: str | None) -> Node:
    """Return the array that would be read, of three axes or of four."""
    try:
        return choose(path, dataset, 3, None).node
    except InputError:
        return choose(path, dataset, 4, None).node
