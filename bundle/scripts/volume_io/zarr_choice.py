"""Which array of a Zarr store is meant, and what its store says of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.attribute import attributed_size, channel_names
from scripts.volume_io.axis import UNKNOWN, above_axes, arrange, axis_letters, fitted, kept_axes, stated_axes
from scripts.volume_io.member import checked_member, store_of
from scripts.volume_io.ome import Multiscale, multiscale_of
from scripts.volume_io.paths import is_zarr
from scripts.volume_io.zarr_node import Node, arrays_below, node_at

__all__ = ["Choice", "choose", "listing", "volume_axes"]

VoxelSize = tuple[float, float, float]


class Choice(NamedTuple):
    """An array, the axes it is said to have ("" where nothing is said), and what is known of it."""

    node: Node
    axes: str
    voxel_size: VoxelSize | None
    channel_names: Sequence[str]


def choose(path: Path, dataset: str | None, ndim: int, voxel_size: Sequence[float] | None) -> Choice:
    """Choose the array that a path and a dataset mean, of an image the level nearest to a voxel size (z, y, x).

    Raises:
        InputError: no such array, or several to choose from.
    """
    node = node_at(path / (dataset or "").strip("/"))
    if node is None:
        raise InputError(f"{path}: no array or group {dataset!r}; it has: {listing(path)}.")
    images = list(_images(node))
    if len(images) == 1:
        return _level(*images[0], voxel_size)
    arrays = list(arrays_below(node)) if not images else []
    fitting = [array for array in arrays if len(kept_axes(array.shape, ndim)) == ndim]
    if len(arrays) == 1 or len(fitting) == 1:
        return _known(next(iter(fitting or arrays)))
    raise InputError(f"{path}: which array? It has: {listing(path)}. Name one that is {ndim}D: {path}::name.")


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


def _level(node: Node, image: Multiscale, wanted: Sequence[float] | None) -> Choice:
    """Choose the level whose voxels are nearest in size to those wanted."""
    chosen = image.levels[0]
    sized = [(level, level.voxel_size) for level in image.levels if level.voxel_size is not None]
    if wanted is not None and sized:
        distances = [np.abs(np.log(np.divide(size, wanted))).sum() for _, size in sized]
        chosen, lengths = sized[int(np.argmin(distances))]
        size = " x ".join(f"{length:.4g}" for length in lengths)
        logging.getLogger(__name__).info("%s: level %s, of voxels of %s µm (z, y, x).", node.path, chosen.path, size)
    array = node_at(checked_member(store_of(node.path), node.path / chosen.path, f"its level {chosen.path!r},"))
    if array is None or not array.is_array:
        raise InputError(f"{node.path}: its metadata name a level {chosen.path!r}, which is not there. Copy it again.")
    return Choice(array, image.axes, chosen.voxel_size, image.channel_names)


def _known(array: Node) -> Choice:
    """Look what the groups above an array, as far as the store goes, and its own attributes say of it."""
    folder = array.path
    groups: list[Mapping[str, Any]] = []
    while is_zarr(folder.parent):
        folder = folder.parent
        above = node_at(folder)
        groups += [] if above is None else [above.attributes]
        image = multiscale_of(above) if above is not None else None
        for level in image.levels if image is not None else ():
            if image is not None and folder / level.path == array.path:
                return Choice(array, image.axes, level.voxel_size, image.channel_names)
    letters = _letters(array) or above_axes(groups, array.shape)
    sizes = (attributed_size(attributes, letters, array.path) for attributes in (array.attributes, *groups))
    size = next((size for size in sizes if size is not None), None)
    return Choice(array, letters, size, channel_names(array.attributes))


def volume_axes(chosen: Choice, ndim: int) -> tuple[int, ...]:
    """Return which stored axes are (Z, Y, X), or (C, Z, Y, X), in this order; the others have length 1.

    Raises:
        InputError: there are others, these are not there, or the array and its group name them differently.
    """
    array, letters = chosen.node, chosen.axes
    own = _letters(array)
    if len(letters) != len(array.shape):
        letters = own
    elif own and any(a != b and UNKNOWN not in (a, b) for a, b in zip(letters, own, strict=True)):
        found = f"the group says {letters}, the array {own}"
        raise InputError(f"{array.path}: contradictory axes, {found}. Correct their metadata.")
    return arrange(letters, array.shape, ndim, array.path)


def _letters(array: Node) -> str:
    """Return the axes that an array names: dimension_names of version 3, or attributes (xarray's and others)."""
    names = fitted(axis_letters(array.metadata.get("dimension_names")), array.shape, array.path)
    stated = stated_axes(array.attributes, array.shape, array.path)
    if names and stated and any(a != b and UNKNOWN not in (a, b) for a, b in zip(names, stated, strict=True)):
        found = f"dimension_names say {names}, attributes {stated}"
        raise InputError(f"{array.path}: contradictory axes, {found}. Correct its metadata.")
    return names or stated


def listing(path: Path) -> str:
    """Name the arrays of a store, for messages."""
    node = node_at(path)
    arrays = list(arrays_below(node)) if node is not None else []
    named = [f"{array.path.relative_to(path)} {array.shape} {array.metadata.get('dtype', '')}" for array in arrays[:12]]
    return ", ".join(text.strip() for text in named) + (", …" if len(arrays) > 12 else "") or "none"
