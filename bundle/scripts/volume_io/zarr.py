"""Zarr stores written whole; `zarr_store` has what is done part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.ome import write_ome_metadata
from scripts.volume_io.pyramid import downsample_labels, pyramid_factors
from scripts.volume_io.zarr_store import ZarrVolume, create_zarr

__all__ = ["write"]

# a megabyte for each byte of the type
CHUNKS = (64, 128, 128)


def write(
    path: Path,
    array: np.ndarray,
    size: Sequence[float] | None,
    name: Path,
    dataset: str | None,
    names: Sequence[str] = (),
    labels: bool = False,
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a store: OME-Zarr 0.4 for names that end in .ome.zarr, otherwise one array.

    Memory: 64 planes beside the array, with `labels` also the second level (an eighth, or a quarter) and four times 64
    planes.

    Args:
        path: where to write.
        array: (Z, Y, X) or (C, Z, Y, X).
        size: (z, y, x) of a voxel in micrometres.
        name: the store's final name, for its ending and for messages.
        dataset: the name of the array; in OME-Zarr levels are numbered, and there is none to be named.
        names: what the channels are.
        labels: for OME-Zarr, whether these are labels: these have a pyramid, and say what they are.
        attributes: names and texts kept with the store.

    Raises:
        InputError: OME-Zarr with a dataset, or the store cannot be written.
    """
    chunks = (*[1] * (array.ndim - 3), *CHUNKS)
    is_ome = name.name.lower().endswith(".ome.zarr")
    if is_ome and dataset:
        raise InputError(f"{name}: OME-Zarr numbers its levels; leave out '::{dataset}', or write to a name in .zarr.")
    place = "0" if is_ome else (dataset or "main")
    finest = create_zarr(path, array.shape, array.dtype, chunks, size, names, dataset=place, attributes=attributes)
    _fill(finest, array)
    if not is_ome:
        return
    factors = pyramid_factors(array.shape, size, chunks) if labels and array.ndim == 3 else [(1, 1, 1)]
    level = array
    for i in range(1, len(factors)):
        step = [now // before for now, before in zip(factors[i], factors[i - 1], strict=True)]
        # in parts that begin at multiples of the factors, for the memory
        parts = [downsample_labels(level[z : z + CHUNKS[0]], step) for z in range(0, len(level), CHUNKS[0])]
        level = np.concatenate(parts)
        _fill(create_zarr(path, level.shape, level.dtype, chunks, dataset=str(i)), level)
    levels = [(str(i), by) for i, by in enumerate(factors)]
    write_ome_metadata(path, _stem(name), levels, size, labels=labels, channel_names=names)


def _fill(volume: ZarrVolume, array: np.ndarray) -> None:
    """Write slabs of whole chunks."""
    depth = volume.chunks[-3]
    for index in np.ndindex(array.shape[:-3]):
        for start in range(0, array.shape[-3], depth):
            box = (*[slice(i, i + 1) for i in index], slice(start, start + depth))
            volume[box] = array[box]
    volume.close()


def _stem(name: Path) -> str:
    stem = name.name.lower().removesuffix(".zarr").removesuffix(".ome")
    return name.name[: len(stem)]
