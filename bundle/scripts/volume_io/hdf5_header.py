"""What an HDF5 file says of a dataset: its axes, its voxel size, and the type that its values mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import h5py
import numpy as np
from scripts.errors import InputError
from scripts.volume_io.attribute import attributed_size
from scripts.volume_io.axis import above_axes, axis_letters, fitted, stated_axes
from scripts.volume_io.cause import FILTERS, PLUGIN
from scripts.volume_io.unit import as_text, warn_once

__all__ = ["letters_of", "meant_type", "require_filters", "voxel_size"]

# BigDataViewer's datasets: time point, setup, level
CELLS = re.compile(r"/t\d{5,}/s\d{2,}/\d+/cells")


def letters_of(dataset: h5py.Dataset) -> str:
    """Return a letter for each axis, as `scripts.volume_io.axis` has them; "" where the file does not name them.

    Its attributes are asked (ilastik's axistags among them), its dimension labels and scales (netCDF), the group that
    presents it as the signal (NeXus), and then its group and the file.

    Raises:
        InputError: these contradict each other.
    """
    name = f"{dataset.file.filename}::{dataset.name.lstrip('/')}"
    attributes = _attributes(dataset)
    group = _attributes(dataset.parent)
    if "axes" in group and as_text(group.get("signal")) == dataset.name.rpartition("/")[2]:
        attributes = {"axes": group["axes"], **attributes}
    stated = stated_axes(attributes, dataset.shape, name)
    scales = fitted(axis_letters([_scale_name(dimension) for dimension in dataset.dims]), dataset.shape, name)
    if stated and scales and any(a != b and "?" not in (a, b) for a, b in zip(stated, scales, strict=True)):
        raise InputError(
            f"{name}: contradictory axes, attributes say {stated}, dimension scales {scales}. Correct them."
        )
    if not (stated or scales):
        stated = above_axes([group, _attributes(dataset.file)], dataset.shape)
    if "MATLAB_class" in attributes and not (stated or scales):
        warn_once(
            f"{name}: written by MATLAB, which stores arrays by columns; axes {dataset.shape} are taken as (z, y, x)."
        )
    return stated or scales


def voxel_size(dataset: h5py.Dataset, letters: str) -> tuple[float, float, float] | None:
    """Read the voxel size from the dataset's attributes, or else from those of its group or of the file."""
    name = f"{dataset.file.filename}::{dataset.name.lstrip('/')}"
    nodes = [_attributes(node) for node in (dataset, dataset.parent, dataset.file)]
    above = {**nodes[2], **nodes[1]}
    found = (attributed_size(attributes, letters, name, above) for attributes in nodes)
    return next((size for size in found if size is not None), None)


def meant_type(dataset: h5py.Dataset) -> np.dtype:
    """Return the type of a dataset's values.

    BigDataViewer writes the bits of uint16 into int16, and reads them so; since Java has no unsigned integers.
    """
    if CELLS.fullmatch(dataset.name) and dataset.dtype.kind == "i" and dataset.dtype.itemsize == 2:
        return np.dtype("u2").newbyteorder(dataset.dtype.byteorder)
    return dataset.dtype


def require_filters(dataset: h5py.Dataset) -> None:
    """See that the filters of a dataset can be undone; hdf5plugin, if it is installed, brings those that are missing.

    Raises:
        InputError: one is missing.
    """
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index) for index in range(properties.get_nfilters())]
    if missing := [entry for entry in filters if not _is_available(entry[0])]:
        code, own_name = missing[0][0], as_text(missing[0][3])
        name = f"{dataset.file.filename}::{dataset.name.lstrip('/')}"
        found = (
            f"compressed by {FILTERS.get(code) or own_name or 'a filter'} (HDF5 filter {code}), which is not installed"
        )
        raise InputError(f"{name}: {found}. {PLUGIN}.")


def _is_available(code: int) -> bool:
    if not h5py.h5z.filter_avail(code):
        with suppress(ImportError):  # registers its filters
            import_module("hdf5plugin")
    return bool(h5py.h5z.filter_avail(code))


def _scale_name(dimension: Any) -> str:
    """Return the name of an axis: that of the dimension scale attached to it."""
    with suppress(Exception):  # references to what is not there
        return str(dimension[0].name).rpartition("/")[2] if len(dimension) else ""
    return ""


def _attributes(node: Any) -> Mapping[str, Any]:
    """Read the attributes that h5py can read."""
    found = {}
    for key in node.attrs:
        with suppress(OSError, TypeError, ValueError, KeyError, RuntimeError):
            found[str(key)] = node.attrs[key]
    return found
