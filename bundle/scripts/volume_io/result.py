"""What results are called, and from which volume they came."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
from scripts.errors import InputError
from scripts.volume_io.inventory import last_change
from scripts.volume_io.paths import SUFFIXES, split_dataset

__all__ = ["SOURCE_ATTRIBUTES", "check_results", "result_name", "result_stem", "short_name", "source_of"]

SOURCE_ATTRIBUTES = ("source", "source_last_change")
"""Of the HDF5 file of the maps: the volume that they came from."""


def result_stem(name: str | os.PathLike[str]) -> str:
    """Return what the results of a volume are named after: its file, and the dataset or level within it.

    >>> [result_stem(name) for name in ("D/Y.tif", "D/vol.h5::a/raw", "D/Y.ome.zarr/", "Y.ome.zarr/1")]
    ['Y', 'vol_a_raw', 'Y.ome', 'Y.ome_1']
    """
    file, inside = _split(name)
    stem, extension = os.path.splitext(file)
    stem = os.path.splitext(stem)[0] if extension == ".gz" else stem
    return "_".join([stem, *inside])


def short_name(name: str | os.PathLike[str]) -> str:
    """Return the name of the file, with the dataset or level within it: a row of a table.

    >>> short_name("D/Y.tif"), short_name("D/vol.h5::a/raw")
    ('Y.tif', 'vol.h5::a/raw')
    """
    file, inside = _split(name)
    return f"{file}::{'/'.join(inside)}" if inside else file


def result_name(meta: Mapping[str, Any], saver: Any) -> dict[str, Any]:
    """Name the results of a volume after `result_stem`: the `output_name_formatter` of MONAI's SaveImaged.

    Args:
        meta: of the volume.
        saver: the transform, which counts volumes without a name.
    """
    name = (meta or {}).get("filename_or_obj", getattr(saver, "_data_index", 0))
    # MONAI takes off what it holds to be an extension.
    return {"subject": f"{result_stem(str(name))}.tif", "idx": (meta or {}).get("patch_index")}


def source_of(name: str | os.PathLike[str]) -> dict[str, str]:
    """Return what the maps of a volume keep of it: where it is, and when it was changed last."""
    path, dataset = split_dataset(name)
    address = str(path.resolve()) + (f"::{dataset.strip('/')}" if dataset else "")
    return dict(zip(SOURCE_ATTRIBUTES, (address, last_change(name)), strict=True))


def check_results(images: Sequence[str], output_dir: str | os.PathLike[str]) -> None:
    """See that no two volumes, of this run or an earlier one, have results of one name.

    Names that differ in capitals alone count as one, as they do on macOS and Windows.

    Raises:
        InputError: two have.
    """
    known: dict[str, str] = {}
    for image in images:
        stem = result_stem(image)
        other = known.get(stem.casefold())
        if other == image:
            raise InputError(f"{image}: found twice among the volumes, expected once. Leave one out.")
        if other is not None:
            raise InputError(
                f"{other}, {image}: all would be written to {Path(output_dir) / stem}_…; expected names that differ "
                "before the extension. Rename one, or give each a command and an output_dir of its own."
            )
        known[stem.casefold()] = image
        _check_maps(image, Path(output_dir) / f"{stem}_maps.h5")


def _check_maps(image: str, maps: Path) -> None:
    """See that maps of this name are none, or those of the same volume: of which nothing is known, it is."""
    found: dict[str, str] = {}
    with suppress(OSError), h5py.File(maps) as file:
        found = {name: str(file.attrs[name]) for name in SOURCE_ATTRIBUTES if name in file.attrs}
    address, change = (found.get(name) for name in SOURCE_ATTRIBUTES)
    own_address, own_change = source_of(image).values()
    was_moved = change == own_change and Path(address or "").name == Path(own_address).name
    if address not in (None, own_address) and not was_moved:
        raise InputError(
            f"{maps}: holds the result of {address}, and that of {image} would replace it. Choose another output_dir, "
            "or remove the earlier results."
        )


def _split(name: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """The name of the file or store, and what leads to an array within it."""
    path, dataset = split_dataset(name)
    parts = path.parts or ("",)
    stores = [place for place, part in enumerate(parts) if part.lower().endswith(SUFFIXES["zarr"])]
    place = stores[0] if stores else len(parts) - 1
    inside = [*parts[place + 1 :], *(dataset or "").split("/")]
    return parts[place], [part for part in inside if part]
