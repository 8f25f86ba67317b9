"""OME-Zarr metadata: 0.4 in Zarr version 2, 0.5 in version 3; older ones are read where they say enough.

The specification: https://ngff.openmicroscopy.org/0.4/ and https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.axis import axis_letters
from scripts.volume_io.unit import as_text, as_voxel_size, in_micrometres, is_without_length, warn_once
from scripts.volume_io.zarr_node import Node, node_at, write_attributes

__all__ = ["Level", "Multiscale", "multiscale_of", "write_ome_metadata"]

VoxelSize = tuple[float, float, float]
VERSIONS = {2: "0.4", 3: "0.5"}
# axes of versions before 0.3, which all have five
OLD_AXES = "tczyx"


class Level(NamedTuple):
    """One resolution: the path of its array below the group, and its voxel size (z, y, x) in micrometres, if known."""

    path: str
    voxel_size: VoxelSize | None


class Multiscale(NamedTuple):
    """An image in several resolutions.

    Attributes:
        axes: one letter for each stored axis, t, c, z, y, x, or "?"; "" where nothing is said (versions before 0.3).
        levels: the finest first.
        channel_names: nothing where the group does not say.
    """

    axes: str
    levels: list[Level]
    channel_names: list[str]


def multiscale_of(node: Node) -> Multiscale | None:
    """Return what a group says of itself, None where it is no multiscale image.

    Raises:
        InputError: the metadata are not those of OME-Zarr.
    """
    ome = node.attributes.get("ome", node.attributes)
    if node.is_array or not isinstance(ome, Mapping) or not ome.get("multiscales"):
        return None
    try:
        image = ome["multiscales"][0]
        given = image.get("axes", OLD_AXES)
        axes = axis_letters(given) or "?" * len(given)
        units = {letter: _unit(axis) for letter, axis in zip(axes, given, strict=True)}
        scales = [_scale(level, image, axes, node.path) for level in image["datasets"]]
        sizes = _micrometres(scales, [units.get(axis) for axis in "zyx"], node.path)
        paths = [str(level["path"]) for level in image["datasets"]]
        channels = ome.get("omero", {}).get("channels", ())
        names = [str(channel["label"]) for channel in channels if "label" in channel]
        levels = [Level(path, size) for path, size in zip(paths, sizes, strict=True)]
        return Multiscale(axes if "axes" in image else OLD_AXES, levels, names)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        expected = "those of OME-Zarr 0.4 or 0.5 (axes, datasets with paths and scales)"
        found = f"metadata 'multiscales' is not understood ({error!r})"
        raise InputError(f"{node.path}: {found}; expected {expected}.") from error


def write_ome_metadata(
    path: str | os.PathLike[str],
    name: str,
    levels: Sequence[tuple[str, VoxelSize]],
    voxel_size: Sequence[float] | None,
    *,
    labels: bool,
    channel_names: Sequence[str] = (),
    zarr_format: int = 2,
) -> None:
    """Make a group whose arrays are written a multiscale image, or a label image, of OME-Zarr.

    Version 0.4 in Zarr version 2 and 0.5 in version 3; what the group has else stays, and the file is replaced at once.
    Each level has a scale and a translation: voxel 0 of a coarser level lies in the middle of the voxels that it
    stands for.

    The group stands alone, a label image too. napari opens it with the plugin napari-ome-zarr (`napari x.ome.zarr`), as
    labels where `image-label` says so; Neuroglancer from a web server, with the source `zarr://http://host/x.ome.zarr`
    for a layer of the type image or segmentation.

    Args:
        path: the group.
        name: of the image.
        levels: path of each array below the group, the finest first, and its cumulative factors (z, y, x).
        voxel_size: (z, y, x) of the finest level in micrometres; None writes a scale of 1 and no unit.
        labels: whether these are labels: adds `image-label`.
        channel_names: what the channels are, for arrays of (C, Z, Y, X).
        zarr_format: 2 or 3.

    Raises:
        InputError: the first level is not there or has other factors than 1, or the group cannot be written or is of
            the other version.
    """
    array = node_at(Path(path) / levels[0][0])
    if array is None or not array.is_array:
        raise InputError(
            f"{path}: no array {levels[0][0]!r}; expected the levels to be there. Make them by create_zarr."
        )
    if tuple(levels[0][1]) != (1, 1, 1):
        raise InputError(f"{path}: factors {levels[0][1]} of the first level; expected (1, 1, 1), not voxel sizes.")
    unit = {"unit": "micrometer"} if voxel_size is not None else {}
    finest = np.asarray((1.0, 1.0, 1.0) if voxel_size is None else voxel_size, dtype=float)
    channel = [1.0] * (len(array.shape) - 3)
    axes = [{"name": "c", "type": "channel"}] if channel else []
    image: dict[str, Any] = {
        "name": name,
        "axes": axes + [{"name": axis, "type": "space", **unit} for axis in "zyx"],
        "datasets": [
            {"path": level, "coordinateTransformations": _transformations(finest, factors, channel)}
            for level, factors in levels
        ],
    }
    if labels:
        image |= {"type": "mode", "metadata": {"description": "most frequent label of each block"}}
    version = VERSIONS[zarr_format]
    content: dict[str, Any] = {"multiscales": [image]}
    if labels:
        content["image-label"] = {"version": version} if zarr_format == 2 else {}
    if channel_names:
        content["omero"] = _omero(channel_names, array.dtype)
    if zarr_format == 2:
        image["version"] = version
        write_attributes(Path(path), 2, content)
    else:
        write_attributes(Path(path), 3, {"ome": {"version": version, **content}})


def _omero(names: Sequence[str], dtype: np.dtype) -> dict[str, Any]:
    """Name the channels; viewers want a colour and the range of grey values for each, too."""
    top = int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1
    window = {"min": 0, "max": top, "start": 0, "end": top}
    channels = [
        {"label": str(name), "color": "FFFFFF", "window": window, "active": not i} for i, name in enumerate(names)
    ]
    return {"channels": channels}


def _transformations(finest: np.ndarray, factors: Sequence[float], channel: list[float]) -> list[dict[str, Any]]:
    scale = finest * np.asarray(factors, dtype=float)
    shift = (scale - finest) / 2
    return [
        {"type": "scale", "scale": channel + scale.tolist()},
        {"type": "translation", "translation": [0.0 * one for one in channel] + shift.tolist()},
    ]


def _unit(axis: Any) -> Any:
    return axis.get("unit") if isinstance(axis, Mapping) else None


def _scale(level: Mapping[str, Any], image: Mapping[str, Any], axes: str, path: Path) -> np.ndarray | None:
    """Multiply the scales of a level and of the whole image; (z, y, x), None where there is none."""
    steps = [step for owner in (level, image) for step in owner.get("coordinateTransformations") or ()]
    product: np.ndarray | None = None
    for scale in (step["scale"] for step in steps if step["type"] == "scale" and "scale" in step):
        factors = _of_space(scale, axes)
        if factors is None:
            found = f"a scale of {len(scale)} numbers for the axes {axes}"
            warn_once(f"{path}: {found}; expected one for each axis. The voxel size is taken as unknown.")
            return None
        product = factors if product is None else product * factors
    return product


def _of_space(scale: Sequence[float], axes: str) -> np.ndarray | None:
    """Return the factors (z, y, x) of a scale with one for each axis, or for each one in space, as Fractal wrote."""
    factors = np.asarray(scale, dtype=float)
    space = [letter for letter in axes if letter in "zyx"]
    if sorted(space) != ["x", "y", "z"] or len(factors) not in (3, len(axes)):
        return None
    listed = axes if len(factors) == len(axes) else space
    return np.array([factors[listed.index(axis)] for axis in "zyx"])


def _micrometres(scales: Sequence[np.ndarray | None], units: Sequence[Any], path: Path) -> list[VoxelSize | None]:
    """Give scales in micrometres; without any unit those of which the finest is 1, 1, 1 are no lengths."""
    if all(unit is None or not as_text(unit) for unit in units):
        is_counted = bool(scales) and scales[0] is not None and np.allclose(scales[0], 1)
        return [None if is_counted or scale is None else as_voxel_size(scale) for scale in scales]
    if all(is_without_length(unit) for unit in units):
        return [None] * len(scales)
    return [None if scale is None else in_micrometres(scale, units, path) for scale in scales]
