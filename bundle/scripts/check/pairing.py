"""No volume has two roles: one that is given twice by mistake is reported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from scripts.errors import InputError
from scripts.volume_io import ChunkedVolume, open_volume, split_dataset

__all__ = ["check_apart", "check_roles", "check_training_roles"]


def check_roles(items: Sequence[Mapping[str, str]]) -> None:
    """See that no volume is both an image and a label.

    Args:
        items: as `scripts.dataset.volume_items` lists them.

    Raises:
        InputError: one is.
    """
    labels = [item["label"] for item in items if "label" in item]
    for image, label in product([item["image"] for item in items], labels):
        if _is_same(image, label):
            raise InputError(f"{label}: given as a label and as an image. Expected two volumes; name the other one.")


def check_training_roles(
    source: Sequence[Mapping[str, str]], target: Sequence[Mapping[str, str]], copies: bool = True
) -> None:
    """See that every volume of X and Y has one role. X and Y may be the same where both have labels, as in oracle.yaml.

    Args:
        source: images and labels of X, as `scripts.dataset.volume_items` lists them.
        target: images of Y, and their labels where there are some.
        copies: whether images of one shape are compared in three planes; nothing is read otherwise.

    Raises:
        InputError: a volume is image and label, or an image of X is given as Y too, or a copy of it.
    """
    check_roles([*source, *target])
    if list(source) != list(target):
        check_apart([item["image"] for item in source], [item["image"] for item in target], copies)


def check_apart(source: Sequence[str], target: Sequence[str], copies: bool = True) -> None:
    """See that no image of X is given as Y too, under whatever name.

    Args:
        source: images of X.
        target: images of Y.
        copies: see `check_training_roles`.

    Raises:
        InputError: one is, or a copy of it.
    """
    for one, other in product(source, target):
        if _is_same(one, other) or (copies and _is_copy(one, other)):
            what = "the same volume" if _is_same(one, other) else f"a copy of {one}"
            raise InputError(
                f"{other}: given as image_y, but it is {what} as in image_x. Expected another domain; name an "
                "unlabelled volume of the target."
            )


def _is_same(one: str, other: str) -> bool:
    """Whether two names lead to one volume, by links or through another spelling."""
    (path, dataset), (other_path, other_dataset) = split_dataset(one), split_dataset(other)
    if not (path.exists() and other_path.exists() and os.path.samefile(path, other_path)):
        return False
    return dataset == other_dataset or _address(one) == _address(other)


def _address(name: str) -> tuple[Path, str]:
    """The file and the dataset that is read where the name leaves it out."""
    path = split_dataset(name)[0]
    return path.resolve(), split_dataset(open_volume(name).name)[1] or ""


def _is_copy(one: str, other: str) -> bool:
    first, second = open_volume(one), open_volume(other)
    if first.shape != second.shape:
        return False
    heights = [first.shape[0] * quarter // 4 for quarter in (1, 2, 3)]
    planes = [(_plane(first, z), _plane(second, z)) for z in heights]
    return all(map(np.array_equal, *zip(*planes, strict=True))) and any(np.ptp(plane) > 0 for plane, _ in planes)


def _plane(volume: ChunkedVolume, z: int) -> np.ndarray:
    return volume[z : z + 1]
