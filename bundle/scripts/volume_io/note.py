"""Texts that an HDF5 file or a Zarr store keeps beside its voxels, such as the plan that they were made by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
from scripts.volume_io.paths import decoding, existing, format_of, is_store
from scripts.volume_io.unit import as_text
from scripts.volume_io.zarr_node import node_at

__all__ = ["read_attribute"]


def read_attribute(path: str | os.PathLike[str], name: str) -> str | None:
    """Return a text that `write_volume` or `create_zarr` kept with a file.

    Args:
        path: as for `scripts.volume_io.read_volume`; a dataset or level may be named.
        name: of the text.

    Returns:
        The text; None where there is none, or something else has that name, and for TIFF and NIfTI, which keep none.

    Raises:
        InputError: no such file, or it is damaged.
    """
    file, dataset = existing(path)
    match format_of(file):
        case "hdf5":
            found = _of_hdf5(file, name)
        case "zarr":
            found = _of_zarr(file / (dataset or "").strip("/"), name)
        case _:
            found = None
    return as_text(found) if isinstance(found, str | bytes) else None


def _of_hdf5(file: Path, name: str) -> Any:
    with decoding(file, "HDF5"), h5py.File(file) as opened:
        return opened.attrs.get(name)


def _of_zarr(node: Path, name: str) -> Any:
    """Look at an array or group and at those that it lies in: the store itself has the text."""
    while is_store(node):
        found = node_at(node)
        if found is not None and name in found.attributes:
            return found.attributes[name]
        node = node.parent
    return None
