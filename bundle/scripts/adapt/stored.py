"""Arrays of an adaptation as files, which its commands read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scripts.adapt.array import as_volume, checked_size
from scripts.check.array import check_image, check_label
from scripts.errors import InputError
from scripts.volume_io import read_volume, write_volume
from scripts.volume_io.paths import is_name
from scripts.volume_io.volume import Volume

__all__ = ["Stored", "is_list"]

_PAIRS = (("image_x", "label_x"), ("image_y", "label_y"))


class Stored:
    """Volumes of an adaptation, checked; those that are arrays become HDF5 files, those that are names stay.

    Memory: none beside the arrays, but for one plane of a check.

    Args:
        given: image_x, label_x, image_y and perhaps label_y: an array (Z, Y, X), a name, or a list of these.
        sizes: voxel_size_x and voxel_size_y, (z, y, x) in micrometres or None.
        folder: of the files.

    Attributes:
        names: of all files, as `given`.
        flags: of the command: voxel sizes, where there are files that may not state them.

    Raises:
        InputError: an array is no image or no label, or a label does not fit its image.
    """

    def __init__(self, given: Mapping[str, Any], sizes: Mapping[str, Any], folder: Path) -> None:
        self.names: dict[str, Any] = {}
        self.flags: dict[str, Any] = {}
        self._arrays: dict[Path, Volume] = {}
        checked = {name: checked_size(size, name) for name, size in sizes.items()}
        for role, volumes in given.items():
            size = f"voxel_size_{role[-1]}"
            found = [self._name(one, label, folder, checked[size]) for label, one in _items(role, volumes)]
            self.names[role] = found if is_list(volumes) else found[0]
            if (known := checked[size]) is not None and any(map(is_name, _listed(volumes))):
                self.flags[size] = list(known)
        for image, label in _PAIRS:
            if label in given:
                self._check_pair(image, label)

    def write(self) -> list[Path]:
        """Write the arrays, and return the files that were not there before.

        Raises:
            InputError: a file holds another volume, or one cannot be written; what was there before is untouched.
        """
        new = [path for path, volume in self._arrays.items() if not _is_stored(path, volume)]
        for path in new:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path, self._arrays[path].array, self._arrays[path].voxel_size)
        return new

    def _name(self, volume: Any, name: str, folder: Path, size: Sequence[float] | None) -> str:
        """The name of a volume's file; an array is checked and kept."""
        if is_name(volume):
            return os.fspath(volume)
        found = as_volume(volume, name, size)
        (check_label if name.startswith("label") else check_image)(found.array, name)
        path = folder / f"{name.replace('[', '_').strip(']')}.h5"
        self._arrays[path] = found
        return str(path)

    def _check_pair(self, image: str, label: str) -> None:
        images, labels = (_listed(self.names[role]) for role in (image, label))
        if len(images) != len(labels):
            raise InputError(f"{label}: found {len(labels)} volumes, expected {len(images)}, one for each of {image}.")
        for one, other in zip(images, labels, strict=True):
            shapes = [self._arrays[Path(name)].array.shape for name in (one, other) if Path(name) in self._arrays]
            if len({*shapes}) > 1:
                names = Path(other).stem, Path(one).stem
                raise InputError(f"{names[0]}: found shape {shapes[1]}, expected {shapes[0]} as {names[1]} has.")


def is_list(volumes: Any) -> bool:
    """Whether several volumes are given."""
    return isinstance(volumes, list | tuple)


def _listed(volumes: Any) -> list[Any]:
    return list(volumes) if is_list(volumes) else [volumes]


def _items(role: str, volumes: Any) -> list[tuple[str, Any]]:
    """Volumes with their names in messages.

    Raises:
        InputError: an empty list.
    """
    if is_list(volumes) and not volumes:
        raise InputError(f"{role}: found an empty list, expected arrays (Z, Y, X) or names of files.")
    return [(f"{role}[{number}]", one) for number, one in enumerate(volumes)] if is_list(volumes) else [(role, volumes)]


def _is_stored(path: Path, volume: Volume) -> bool:
    """Whether a file already holds a volume: the same call came before.

    Raises:
        InputError: it holds another one.
    """
    if not path.exists():
        return False
    array, size = read_volume(path)
    if size == volume.voxel_size and array.dtype == volume.array.dtype and np.array_equal(array, volume.array):
        return True
    raise InputError(f"{path}: holds another volume than {path.stem}, of an earlier call. Choose another output_dir.")
