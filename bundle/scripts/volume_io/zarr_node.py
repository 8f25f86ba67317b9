"""Groups and arrays of Zarr stores, as their metadata says: version 2 (.zarray, .zgroup, .zattrs) and 3 (zarr.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.paths import decoding, is_store

__all__ = ["Node", "arrays_below", "node_at", "write_attributes"]


class Node(NamedTuple):
    """An array or a group.

    Attributes:
        path: its folder.
        zarr_format: 2 or 3.
        is_array: whether it is an array.
        attributes: what users and conventions add.
        metadata: the array's own; of a group nothing.
    """

    path: Path
    zarr_format: int
    is_array: bool
    attributes: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an array, all axes."""
        return tuple(int(size) for size in self.metadata["shape"])

    @property
    def shards(self) -> Mapping[str, Any] | None:
        """How files of an array hold several chunks, None where each is a chunk."""
        codecs = self.metadata.get("codecs", ()) if self.zarr_format == 3 else ()
        found = (one for one in codecs if isinstance(one, Mapping) and one.get("name") == "sharding_indexed")
        return next((one["configuration"] for one in found), None)

    @property
    def chunks(self) -> tuple[int, ...]:
        """What of an array is decoded at once: a chunk, or the inner chunk of a shard."""
        return self.outer_chunks if self.shards is None else tuple(int(size) for size in self.shards["chunk_shape"])

    @property
    def outer_chunks(self) -> tuple[int, ...]:
        """What of an array is one file: a chunk, or a shard."""
        if self.zarr_format == 2:
            return tuple(int(size) for size in self.metadata["chunks"])
        return tuple(int(size) for size in self.metadata["chunk_grid"]["configuration"]["chunk_shape"])

    @property
    def dtype(self) -> np.dtype:
        """Of an array.

        Raises:
            InputError: a type that is no number.
        """
        stored = self.metadata.get("dtype" if self.zarr_format == 2 else "data_type")
        try:
            if stored is None:  # which numpy takes for float64
                raise TypeError
            return np.dtype(stored)
        except (TypeError, ValueError, SyntaxError) as error:
            raise InputError(f"{self.path}: values of type {stored}; expected integers or floats.") from error


def node_at(path: Path) -> Node | None:
    """Read the metadata of an array or group, None where the folder has none.

    Raises:
        InputError: metadata that cannot be read.
    """
    if not is_store(path):
        return None
    with decoding(path, "Zarr"):
        node = _version_3(path) if (path / "zarr.json").is_file() else _version_2(path)
        if node.is_array and len(node.shape) != len(node.chunks):
            raise InputError(f"{path}: shape {node.shape} in chunks of {node.chunks}; expected as many axes.")
        return node


def arrays_below(node: Node) -> Iterator[Node]:
    """Give the arrays of a group and of the groups in it, sorted by name; no folder of chunks is looked into."""
    if node.is_array:
        yield node
        return
    for folder in sorted(entry for entry in node.path.iterdir() if entry.is_dir()):
        if (below := node_at(folder)) is not None:
            yield from arrays_below(below)


def write_attributes(path: Path, zarr_format: int, attributes: Mapping[str, Any]) -> None:
    """Set attributes of a group, which is made if need be; others that it has stay.

    Raises:
        InputError: it is an array, of the other version, or cannot be written.
    """
    node = node_at(path)
    if node is not None and (node.is_array or node.zarr_format != zarr_format):
        found = f"{'an array' if node.is_array else 'a group'} of Zarr version {node.zarr_format}"
        raise InputError(f"{path} is {found}; expected a group of version {zarr_format}. Choose another name.")
    from scripts.volume_io import zarr_array

    # some programs write a group's attributes alone, which making it replaces
    zarr_array.write_group(path, zarr_format, {**(node.attributes if node is not None else {}), **attributes})


def _version_3(path: Path) -> Node:
    found = _json(path / "zarr.json")
    is_array = found["node_type"] == "array"
    return Node(path, 3, is_array, found.get("attributes") or {}, found if is_array else {})


def _version_2(path: Path) -> Node:
    attributes = _json(path / ".zattrs") if (path / ".zattrs").is_file() else {}
    metadata = _json(path / ".zarray") if (path / ".zarray").is_file() else None
    return Node(path, 2, metadata is not None, attributes, metadata or {})


def _json(path: Path) -> dict[str, Any]:
    with decoding(path, "JSON"):
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {type(found).__name__}; expected an object with the metadata of Zarr.")
    return found
