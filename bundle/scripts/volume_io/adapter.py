"""MONAI's reader and writer interfaces over `load` and `write_volume`, for LoadImaged and SaveImaged."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from monai.config import DtypeLike, NdarrayOrTensor, PathLike
from monai.data import ImageReader, ImageWriter
from monai.transforms import SaveImaged
from monai.utils import convert_data_type, ensure_tuple, get_equivalent_dtype
from scripts.errors import InputError
from scripts.volume_io.files import load, write_volume
from scripts.volume_io.paths import SUFFIXES, is_zarr, split_dataset
from scripts.volume_io.result import result_name
from scripts.volume_io.volume import Volume, fitting_integer

__all__ = ["VolumeReader", "VolumeWriter", "save_result"]


class VolumeReader(ImageReader):
    """Reader of TIFF stacks, OME-TIFF, HDF5, NIfTI and Zarr for `LoadImaged(reader=…)`: arrays are (Z, Y, X).

    With `LoadImaged(…, dtype=None)` values keep their type, but for what torch lacks: MONAI makes uint16 int32, uint32
    and uint64 int64. (Its default, float32, turns labels into floats.) Memory: itemsize bytes per voxel; uint16 6 bytes
    for the moment of that change.

    The metadata holds `affine` and `original_affine` (index (z, y, x) -> position (x, y, z), in the file's own unit,
    micrometres but for NIfTI), `unit` ("um", "mm", "m", "unknown"), `voxel_size` ((z, y, x) in micrometres, NaN
    where unknown), `placed` (whether the file states direction and origin), `spatial_shape`.

    In a config: `reader: scripts.volume_io.VolumeReader`, or `reader: {_target_: scripts.volume_io.VolumeReader,
    dataset: raw}`.

    Args:
        dataset: for HDF5 and Zarr, the dataset to read where the path names none (`file.h5::dataset`).
    """

    def __init__(self, dataset: str | None = None) -> None:
        super().__init__()
        self.dataset = dataset

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Return whether all the names end like a volume."""
        known = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        paths = [split_dataset(name)[0] for name in ensure_tuple(filename)]
        return all(path.name.lower().endswith(known) or is_zarr(path) for path in paths)

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> str:
        """Return the name of the file, to be read by `get_data`.

        Where `read` fails, LoadImage tries MONAI's own readers, which take a stack's first plane or a 4D file without a
        word. What `get_data` raises it lets through.
        """
        names = [os.fspath(name) for name in ensure_tuple(data)]
        return names[0] if len(names) == 1 else "\n".join(names)

    def get_data(self, img: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the file.

        Raises:
            InputError: as `read_volume`, and for several files at once.
        """
        if "\n" in img:
            raise InputError(f"{img.splitlines()}: several files for one volume; expected one file.")
        volume = self.load(img)
        return volume.array, {
            "affine": volume.affine.copy(),
            "original_affine": volume.affine.copy(),
            "spatial_shape": np.asarray(volume.array.shape),
            "original_channel_dim": "no_channel",
            "space": "RAS",
            "filename_or_obj": img,
            "unit": volume.unit,
            "voxel_size": np.asarray(volume.voxel_size or (np.nan,) * 3),
            "placed": volume.placed,
        }

    def load(self, name: str) -> Volume:
        """Read a volume with its geometry; a class that derives from this one may have it from elsewhere."""
        return load(name, self.dataset)


class VolumeWriter(ImageWriter):
    """Writer of .tif, .ome.tif, .h5, .nii, .nii.gz, .zarr and .ome.zarr for `SaveImaged(writer=…, output_ext=…)`.

    The channel of (1, Z, Y, X) is dropped; (C, Z, Y, X) goes into .h5 and Zarr as it is. Memory: a numpy view of a CPU
    tensor, plus the scaled copy (1 byte per voxel and channel) with `scale`.

    Metadata with a text `plan`, as `MapInferer` writes it, are kept in HDF5 and Zarr files.

    In a config: `writer: scripts.volume_io.VolumeWriter`, or with options of ours (SaveImaged hands on the first two)
    `writer: {_target_: scripts.volume_io.VolumeWriter, _mode_: callable, dataset: main}`.

    Args:
        output_dtype: type to store floats in, as SaveImaged hands it on. Integers and bool keep theirs where it is
            float32, which is SaveImaged's default and would blur large ids.
        scale: 255 or 65535: floats are clipped to [0, 1], multiplied, and stored as uint8 or uint16; integers are left.
        dataset: for HDF5 and .zarr, the name of the dataset.
        rounding: "truncate" (as the reference does) or "nearest"; for `scale`.
        channel_names: for HDF5 and Zarr, what the channels are, kept in the file. Where the array has one more, "image"
            is put before them: what inference gives `with_image`.
        labels: whether these are labels; see `write_volume`.
    """

    output_dtype: DtypeLike | None
    scale: int | None
    dataset: str
    rounding: str
    channel_names: Sequence[str]
    labels: bool

    def __init__(
        self,
        output_dtype: DtypeLike | None = None,
        scale: int | None = None,
        dataset: str = "main",
        rounding: str = "truncate",
        channel_names: Sequence[str] = (),
        labels: bool = False,
    ) -> None:
        if scale not in (None, 255, 65535) or rounding not in ("truncate", "nearest"):
            found = f"scale {scale!r}, rounding {rounding!r}"
            raise InputError(f"VolumeWriter: {found}; expected 255 or 65535, and truncate or nearest.")
        options = {"scale": scale, "dataset": dataset, "rounding": rounding, "channel_names": list(channel_names)}
        super().__init__(output_dtype=output_dtype, labels=labels, **options)
        self.meta: Mapping[str, Any] = {}

    def set_data_array(self, data_array: NdarrayOrTensor, channel_dim: int | None = 0, **kwargs: Any) -> None:
        """Take (C, Z, Y, X), or (Z, Y, X) where `channel_dim` is None."""
        array = convert_data_type(data_array, np.ndarray)[0]
        if channel_dim is not None:
            array = np.moveaxis(array, channel_dim, 0)
            array = array[0] if len(array) == 1 else array
        self.data_obj = array

    def set_metadata(self, meta_dict: Mapping[str, Any] | None, resample: bool = False, **options: Any) -> None:
        """Take the affine, the unit and the name of the source.

        Raises:
            InputError: resampling to another affine is asked for.
        """
        self.meta = meta_dict or {}
        affine, original = self.meta.get("affine"), self.meta.get("original_affine")
        if resample and not (affine is None or original is None or np.allclose(affine, original)):
            raise InputError("VolumeWriter does not resample: set resample: false, and invert it before (Invertd).")

    def write(self, filename: PathLike, verbose: bool = True, **kwargs: Any) -> None:
        """Write the file.

        Raises:
            InputError: as `write_volume`; the name is that of the volume's source; or integers do not fit into
                `output_dtype`.
        """
        super().write(filename, verbose=verbose)
        source = self.meta.get("filename_or_obj")
        if source and split_dataset(source)[0].resolve() == Path(filename).resolve():
            raise InputError(f"{filename} is the input itself; choose another output_dir or output_postfix.")
        affine, unit = self.meta.get("affine"), self.meta.get("unit", "unknown")
        array = self._converted(filename)
        names = ["image", *self.channel_names] if len(array) == len(self.channel_names) + 1 else self.channel_names
        names = names if array.ndim == 4 else []
        kept = {"plan": str(self.meta["plan"])} if self.meta.get("plan") else {}  # as `scripts.plan.file` reads it
        options: dict[str, Any] = {"dataset": self.dataset, "channel_names": names, "labels": self.labels}
        known = source if source and os.path.exists(split_dataset(source)[0]) else None
        # a Path: the name of the input, which may hold a $, is a part of it and is not expanded again
        write_volume(Path(filename), array, affine=affine, unit=unit, source=known, attributes=kept, **options)

    def _converted(self, name: PathLike) -> np.ndarray:
        array = np.asarray(self.data_obj)
        if self.scale and array.dtype.kind == "f":
            return _scaled(array, self.scale, self.rounding == "nearest")
        if self.output_dtype is None:
            return array
        dtype = np.dtype(cast(Any, get_equivalent_dtype(self.output_dtype, np.ndarray)))
        if array.dtype.kind in "iub" and dtype == np.float32:
            return array
        if dtype.kind in "iu":
            fitting_integer(array, (dtype.type,), name)
        return array.astype(dtype, copy=False)


def _scaled(array: np.ndarray, scale: int, to_nearest: bool) -> np.ndarray:
    """Return values of [0, 1] as 0…scale; plane by plane, so that no second float array is made."""
    scaled = np.empty(array.shape, np.uint8 if scale == 255 else np.uint16)
    for index in np.ndindex(array.shape[:-2]):
        plane = np.clip(array[index], 0, 1).astype(np.float32) * np.float32(scale)
        scaled[index] = np.rint(plane) if to_nearest else plane
    return scaled


def save_result(
    keys: str,
    output_dir: str,
    output_ext: str = ".tif",
    output_postfix: str | None = None,
    output_dtype: Any = np.float32,
    **writing: Any,
) -> SaveImaged:
    """Make the transform that writes a result beside others, named after its volume.

    Args:
        keys: the result, (C, Z, Y, X).
        output_dir: folder of the files.
        output_ext: extension, which says the format.
        output_postfix: what the name ends in, by default the key.
        output_dtype: see `VolumeWriter`.
        **writing: of `VolumeWriter`, such as `channel_names` or `labels`.
    """
    writer: Any = partial(VolumeWriter, **writing)  # as MONAI's own configurations hand it over
    return SaveImaged(
        keys,
        writer=writer,
        output_dir=output_dir,
        output_name_formatter=result_name,
        output_postfix=output_postfix or keys,
        output_ext=output_ext,
        output_dtype=output_dtype,
        separate_folder=False,
        resample=False,
    )
