"""The volumes of a domain, listed as MONAI's datasets want them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.errors import InputError
from scripts.volume_io import list_volumes
from scripts.volume_io.pattern import check_pairs, has_pattern

__all__ = ["volume_items"]


def volume_items(
    image: str | Sequence[str | Mapping[str, Any]], label: str | Sequence[str] | None = None
) -> list[dict[str, str]]:
    """List the volumes of a domain as MONAI's datasets want them.

    Args:
        image: a file, a pattern or a list of these; or what another program hands over as `dataset#data`, dictionaries
            with `image` and perhaps `label`, which are looked up and returned.
        label: the labels, in the same order; None for an unlabelled domain.

    Raises:
        InputError: nothing found, another number of labels than images, or names that pair wrongly.
    """
    names = image if isinstance(image, str | os.PathLike) else [one for one in image if not isinstance(one, Mapping)]
    if not isinstance(image, str | os.PathLike) and len(names) < len(image):
        return [_looked_up(one) for one in image]
    images = list_volumes(names)
    if label is None:
        return [{"image": name} for name in images]
    labels = list_volumes(label)
    check_pairs(images, labels, sorted_by_name=has_pattern(names) or has_pattern(label))
    return [{"image": i, "label": m} for i, m in zip(images, labels, strict=True)]


def _looked_up(item: Any) -> dict[str, str]:
    """The files of an item, which is one volume."""
    names = {key: item.get(key) for key in ("image", "label")} if isinstance(item, Mapping) else {}
    found = {key: name for key, name in names.items() if name is not None}
    if "image" not in found or not all(isinstance(name, str | os.PathLike) for name in found.values()):
        raise InputError(
            f"dataset#data: found {' '.join(str(item).split())[:80]}, expected {{'image': FILE}} or with 'label': FILE."
        )
    return {key: _one(os.fspath(name)) for key, name in found.items()}


def _one(name: str) -> str:
    files = list_volumes(name)
    if len(files) != 1:
        raise InputError(f"dataset#data: found the pattern {name} of {len(files)} files, expected the name of one.")
    return files[0]
