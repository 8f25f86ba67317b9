"""Volumes in and out of files: TIFF, HDF5, NIfTI and Zarr, as functions and as MONAI's reader and writer.

Arrays are (Z, Y, X) whatever the file's own order, voxel sizes are (z, y, x) in micrometres. A volume of an HDF5 file
or a Zarr store is named `file.h5::dataset`; the dataset may be left out where there is one volume. `open_volume` reads
volumes larger than memory part by part, `create_zarr` writes them. Errors are `scripts.errors.InputError`.
"""

from typing import TYPE_CHECKING, Any

from scripts.volume_io.chunked import ChunkedVolume
from scripts.volume_io.files import open_volume, read_channel_names, read_maps, read_volume, write_volume
from scripts.volume_io.hdf5 import NAMES_ATTRIBUTE
from scripts.volume_io.inventory import file_change, last_change, volume_files
from scripts.volume_io.note import read_attribute
from scripts.volume_io.ome import write_ome_metadata
from scripts.volume_io.pair import open_label, read_label
from scripts.volume_io.paths import check_writable, split_dataset
from scripts.volume_io.pattern import list_volumes
from scripts.volume_io.placement import Place, turn_to
from scripts.volume_io.pyramid import downsample_labels, pyramid_factors
from scripts.volume_io.result import check_results, result_name, result_stem, short_name
from scripts.volume_io.zarr_store import ZarrVolume, create_zarr, open_zarr_for_writing

if TYPE_CHECKING:
    from scripts.volume_io.adapter import VolumeReader, VolumeWriter, save_result

__all__ = [
    "NAMES_ATTRIBUTE",
    "ChunkedVolume",
    "Place",
    "VolumeReader",
    "VolumeWriter",
    "ZarrVolume",
    "check_results",
    "check_writable",
    "create_zarr",
    "downsample_labels",
    "file_change",
    "last_change",
    "list_volumes",
    "open_label",
    "open_volume",
    "open_zarr_for_writing",
    "pyramid_factors",
    "read_attribute",
    "read_channel_names",
    "read_label",
    "read_maps",
    "read_volume",
    "result_name",
    "result_stem",
    "save_result",
    "short_name",
    "split_dataset",
    "turn_to",
    "volume_files",
    "write_ome_metadata",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    # The adapter imports MONAI, which takes seconds that command lines working on files alone need not wait.
    if name not in ("VolumeReader", "VolumeWriter", "save_result"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scripts.volume_io import adapter

    return getattr(adapter, name)
