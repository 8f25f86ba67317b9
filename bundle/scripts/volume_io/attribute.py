"""Voxel sizes that attributes of HDF5 and Zarr state, in the order of the stored axes and in any unit of length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scripts.volume_io.axis import UNKNOWN, axis_letters
from scripts.volume_io.unit import as_text, as_voxel_size, in_micrometres, is_without_length, length_unit, warn_once

__all__ = ["NAMES_ATTRIBUTE", "SIZE_ATTRIBUTES", "attributed_size", "channel_names"]

VoxelSize = tuple[float, float, float]

# as PlantSeg, BigDataProcessor and others write it: (z, y, x) in micrometres
SIZE_ATTRIBUTES = ("element_size_um", "voxel_size_um", "voxel_size")
# ours: what the channels of (C, Z, Y, X) are, "image", "foreground", …
NAMES_ATTRIBUTE = "channels"
# lower case and without separators; a name that ends in a unit, such as resolution_nm, states it
SIZE_NAMES = re.compile("((?:element|voxel|pixel)size|(?:voxel|pixel)?spacing|(?:pixel)?resolution)(.*)")
UNIT_NAMES = (
    *("{}unit", "{}units", "voxelunit", "voxelunits", "spatialunit", "spatialunits", "spaceunit", "spaceunits"),
    *("axisunits", "axesunits", "lengthunit", "lengthunits", "unit", "units"),
)
# without a unit these are micrometres, as they always were; others, such as the resolution of CREMI, are not
MICROMETRES_BY_DEFAULT = "voxelsize"


def channel_names(attributes: Mapping[str, Any]) -> list[str]:
    """Return what the channels are, [] where the attributes do not say: others keep their number under that name."""
    names = attributes.get(NAMES_ATTRIBUTE)
    return [as_text(name) for name in names] if isinstance(names, (list, tuple, np.ndarray)) and np.ndim(names) else []


def attributed_size(
    attributes: Mapping[str, Any], letters: str, name: object, above: Mapping[str, Any] | None = None
) -> VoxelSize | None:
    """Read a voxel size (z, y, x) in micrometres from attributes.

    Args:
        attributes: of an array, or of a group that holds it.
        letters: of the stored axes, as `scripts.volume_io.axis` gives them; "" for (…, Z, Y, X). Sizes and units that
            the attributes list are in this order, for all axes or for those in space.
        name: the array, for warnings.
        above: attributes of what holds the array; a unit of length among them is taken where `attributes` have none.

    Returns:
        None where the attributes do not say; with a warning where they say it in a way that is not understood.
    """
    given = {re.sub(r"[\W_]", "", str(key)).lower(): key for key in attributes}
    for own, (values, suffix, short, others) in _sizes(attributes, given):
        order = letters if others is attributes else axis_letters(others.get("axes"))
        sizes = _spatial(values, order)
        if sizes is None or as_voxel_size(sizes) is None:
            warn_once(f"{name}: {own} is {values!r}; expected three sizes above 0. The voxel size is taken as unknown.")
            return None
        units = _units(others, short, order)
        if units is None and all(map(length_unit, found := _units(above or {}, short, order) or [None])):
            units = found
        return _converted(sizes, units, suffix, short, f"{name}, {own}")
    return None


def _sizes(attributes: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give what may be a voxel size: name -> values, unit in the name, name without it, attributes with units."""
    matches = [(match, key) for short, key in given.items() if (match := SIZE_NAMES.fullmatch(short))]
    for match, key in sorted(matches, key=lambda one: _rank(one[1])):
        base, suffix = match.groups()
        value = attributes[key]
        if suffix and length_unit(suffix) is None:  # voxel_size_unit, resolution_level, …
            continue
        if isinstance(value, Mapping):  # pixelResolution of N5: x, y, z
            yield key, (value.get("dimensions"), suffix, base, {"axes": "xyz", **value})
        else:
            yield key, (value, suffix, base, attributes)
    transform = attributes.get("transform")  # of COSEM's volumes
    if isinstance(transform, Mapping) and "scale" in transform:
        yield "transform", (transform["scale"], "", "scale", transform)


def _rank(key: str) -> tuple[int, str]:
    return (SIZE_ATTRIBUTES.index(key) if key in SIZE_ATTRIBUTES else len(SIZE_ATTRIBUTES), key)


def _spatial(values: Any, letters: str) -> list[Any] | None:
    """Return what is listed for each axis, or each one in space, as (z, y, x); one value stands for all three."""
    if isinstance(values, Mapping):
        listed = [values.get(axis, values.get(axis.upper())) for axis in "zyx"]
        return None if None in listed else listed
    if isinstance(values, (str, bytes)):
        text = as_text(values)
        values = re.split(r"[,;\s]+", text.strip("[]() ")) if text else [""]
    listed = np.asarray(values, dtype=object).reshape(-1).tolist()
    if len(listed) == 1:
        return listed * 3
    space = [letter for letter in letters if letter in "zyx"]
    if len(listed) != len(space):
        if len(listed) != len(letters):
            return listed if len(listed) == 3 and sorted(space) in ([], ["x", "y", "z"]) else None
        listed = [one for one, letter in zip(listed, letters, strict=True) if letter in "zyx"]
    if sorted(space) != ["x", "y", "z"]:
        return listed if len(listed) == 3 and UNKNOWN in letters else None
    return [listed[space.index(axis)] for axis in "zyx"]


def _units(attributes: Mapping[str, Any], base: str, letters: str) -> list[Any] | None:
    """Return the units (z, y, x) that attributes state, None where they do not."""
    given = {re.sub(r"[\W_]", "", str(key)).lower(): key for key in attributes}
    for pattern in UNIT_NAMES:
        if (key := given.get(pattern.format(base))) is not None:
            units = _spatial(attributes[key], letters)
            return units or np.asarray(attributes[key], dtype=object).reshape(-1).tolist()
    return None


def _converted(sizes: list[Any], units: list[Any] | None, suffix: str, base: str, name: str) -> VoxelSize | None:
    """Bring sizes to micrometres; a unit in the name of the attribute must not contradict others."""
    lengths = [length_unit(unit) for unit in units or ()]
    if suffix:
        if any(unit not in (None, length_unit(suffix)) for unit in lengths):
            return in_micrometres(sizes, [suffix, *map(as_text, units or ())], name)
        return in_micrometres(sizes, [suffix] * 3, name)
    if units is not None and not all(is_without_length(unit) for unit in units):
        return in_micrometres(sizes, units, name)
    if units is None and base == MICROMETRES_BY_DEFAULT:
        return as_voxel_size(sizes)
    if units is None and not np.allclose(np.asarray(sizes, float), 1):
        expected = "expected an attribute such as unit = nm"
        warn_once(f"{name} is {sizes} (z, y, x) without a unit; {expected}. The voxel size is taken as unknown.")
    return None
