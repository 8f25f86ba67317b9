"""Volumes in and out of files: TIFF stacks, OME-TIFF, HDF5 and NIfTI, as functions and as MONAI's reader and writer.

Arrays are (Z, Y, X) whatever the file's own order, voxel sizes are (z, y, x) in micrometres. A volume of an HDF5 file
is named `file.h5::dataset`; the dataset may be left out where the file holds one volume. Errors are
`scripts.errors.InputError`.
"""

from scripts.volume_io.adapter import VolumeReader, VolumeWriter
from scripts.volume_io.files import read_maps, read_volume, write_volume
from scripts.volume_io.paths import check_writable, list_volumes, split_dataset

__all__ = [
    "VolumeReader",
    "VolumeWriter",
    "check_writable",
    "list_volumes",
    "read_maps",
    "read_volume",
    "split_dataset",
    "write_volume",
]
