"""The plan of a training, from its configuration and from the volumes that it reads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import ignite.distributed as idist
from scripts.command.bundle import bundle_version, parser_at_work
from scripts.errors import InputError
from scripts.plan.literal import as_literal, literal
from scripts.plan.plan import FIXED, MAY_DIFFER, WITHOUT_EFFECT, Plan
from scripts.volume_io import short_name
from scripts.volume_io.unit import as_voxel_size

__all__ = ["LISTED", "MEASURED", "OF_Y", "agreed_voxel_size", "configured_keys", "training_plan"]

logger = logging.getLogger(__name__)

OF_Y = {
    "scale": "resize_y::scale",
    "intensity_percentiles": "unit_y::percentiles",
    "intensity_gamma": "unit_y::gamma",
}
"""Keys of inference.yaml, and the ids of train.yaml where Y's transforms have the same."""
MEASURED = "training_voxel_size"
"""The key that the volumes say, not the configuration."""
LISTED = 50
"""Volumes of a domain that a plan names: an HDF5 attribute holds 64 KB."""
_SAME = 1.02  # ratio of voxel sizes that count as one


def training_plan(
    source: Iterable[Mapping[str, Any]],
    target: Iterable[Mapping[str, Any]],
    voxel_size: Sequence[float] | str | None = None,
) -> Plan:
    """Return the plan of the training whose configuration is being turned into objects.

    What cannot be stored, such as a class of another package, is left out; a warning names it.

    Args:
        source: the dataset of X, dictionaries with `image`, whose metadata `VolumeReader` wrote. Others are unknown.
        target: the dataset of Y.
        voxel_size: of Y, (z, y, x) in micrometres, where its files state none; "unknown" where they state a wrong one,
            which inference would read as well, so that the model keeps none. None: what the files state.

    Raises:
        InputError: `voxel_size` is something else.
    """
    parser = parser_at_work()
    keys = {} if parser is None else configured_keys(parser, OF_Y)
    volumes = {"image_x": _described(source), "image_y": _described(target)}
    if voxel_size is None:
        keys[MEASURED] = agreed_voxel_size([volume["voxel_size"] for volume in volumes["image_y"]])
    else:
        keys[MEASURED] = None if voxel_size == "unknown" else _given(voxel_size)
    facts: dict[str, Any] = {name: described[:LISTED] for name, described in volumes.items()}
    facts |= {f"{name}_more": len(all_) - LISTED for name, all_ in volumes.items() if len(all_) > LISTED}
    return Plan(keys, bundle_version(), {**facts, **_configured_facts(parser)})


def configured_keys(parser: Any, places: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return keys of a plan as a configuration defines them, as literals; what cannot be stored is left out.

    Args:
        parser: MONAI's ConfigParser of train.yaml or inference.yaml with overlays.
        places: ids of keys that the configuration has under another name.
    """
    found: dict[str, Any] = {}
    for key in (*FIXED, *MAY_DIFFER):
        place = places.get(key, key)
        if key == MEASURED or not _has(parser, place):
            if key in places:
                _warn_left_out(key, f"plan: found no {place}, whose value it would be.")
            continue
        value = literal(parser, place)
        if key == "network_def" and isinstance(value, dict):
            value = {name: part for name, part in value.items() if name not in WITHOUT_EFFECT}
        try:
            found |= Plan({key: value}).keys
        except InputError as error:
            _warn_left_out(key, str(error))
    return {"flips": 1, **found}


def agreed_voxel_size(sizes: Sequence[Sequence[float] | None]) -> list[float] | None:
    """Return the voxel size (z, y, x) in micrometres of several volumes; None where they differ by more than 2 %.

    Args:
        sizes: of each volume, None where it is unknown.
    """
    known = [size for size in sizes if size is not None]
    if not known:
        logger.info("plan: Y's files state no voxel size, so inference will not derive the scale from voxel sizes.")
        return None
    if len(known) < len(sizes) or any(max(axis) > _SAME * min(axis) for axis in zip(*known, strict=True)):
        shown = ", ".join("unknown" if size is None else "x".join(f"{side:g}" for side in size) for size in sizes)
        _warn(
            f"plan: the volumes of Y have different voxel sizes (z, y, x in µm): {shown}. The model keeps none, so "
            "inference will not derive the scale from voxel sizes."
        )
        return None
    return list(known[0])


def _given(voxel_size: Any) -> list[float]:
    if (size := as_voxel_size(voxel_size)) is None:
        raise InputError(f"plan: found voxel_size {voxel_size!r}, expected three sizes above 0 (z, y, x), or unknown.")
    return list(size)


def _configured_facts(parser: Any) -> dict[str, Any]:
    """Seed and first weights of a training, where its configuration has them."""
    names = [name for name in ("seed", "start_from") if parser is not None and name in parser]
    found = {name: as_literal(parser.get_parsed_content(name)) for name in names}
    facts = {name: value for name, value in found.items() if isinstance(value, int | float | str)}
    return {name: short_name(str(value)) if name == "start_from" else value for name, value in facts.items()}


def _described(dataset: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name, shape (z, y, x) and voxel size in micrometres of each volume, as its file has them."""
    return [_described_image(item["image"]) for item in dataset]


def _described_image(image: Any) -> dict[str, Any]:
    meta = getattr(image, "meta", {})
    size = as_voxel_size(meta.get("voxel_size"))
    shape = [int(side) for side in meta.get("spatial_shape", image.shape[-3:])]
    name = short_name(str(meta.get("filename_or_obj", "")))
    return {"name": name, "shape": shape, "voxel_size": None if size is None else list(size)}


def _has(parser: Any, place: str) -> bool:
    try:
        parser[place]
    except (KeyError, IndexError, TypeError, ValueError):
        return False
    return True


def _warn_left_out(key: str, reason: str) -> None:
    _warn(f"{reason} The model's plan has no {key}: give the same overlay at inference.")


def _warn(text: str) -> None:
    """Log a warning, of several processes in the first one alone."""
    if idist.get_rank() == 0:
        logger.warning("%s", text)
