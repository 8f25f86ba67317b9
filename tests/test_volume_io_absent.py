"""Parts of a volume that its file lacks."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from scripts.blockwise.volume import label_volume
from scripts.errors import InputError
from scripts.volume_io import create_zarr, open_volume, read_volume, write_volume
from scripts.watershed import BCDWatershed

SIDES = (8, 8, 8)


def ones() -> np.ndarray:
    return np.ones(SIDES, np.uint8)


def chunked(folder: Path, written: int = 3, **options: Any) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("raw", SIDES, np.uint8, chunks=(2, 8, 8), **options)[: 2 * written] = 1
    return folder / "a.h5"


def half_mapped(folder: Path) -> Path:
    layout = h5py.VirtualLayout(SIDES, np.uint8)
    with h5py.File(folder / "a.h5", "w") as file:
        file["half"] = ones()[:4, 0]
        file["whole"] = ones()
        layout[:4, 0] = h5py.VirtualSource(file["half"])
        layout[4:] = h5py.VirtualSource(file["whole"])[4:]
        file.create_virtual_dataset("raw", layout)
    return Path(f"{folder / 'a.h5'}::raw")


def source_not_written(folder: Path) -> Path:
    chunked(folder).rename(folder / "source.h5")
    layout = h5py.VirtualLayout(SIDES, np.uint8)
    layout[...] = h5py.VirtualSource("source.h5", "raw", SIDES)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    return folder / "a.h5"


def store(folder: Path, **options: Any) -> Path:
    array = zarr.create_array(folder / "a.zarr", shape=SIDES, **({"chunks": (2, 8, 8), "dtype": "u1"} | options))
    array[:6] = 1
    return folder / "a.zarr"


def sparse(folder: Path, rows: int = 8) -> Path:
    """As GDAL leaves out tiles and strips: their place is 0."""
    path = folder / "a.tif"
    tifffile.imwrite(path, ones(), compression="zlib", rowsperstrip=rows, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+b") as file:
        for page in file.pages[6:]:
            for tag in ("StripOffsets", "StripByteCounts"):
                page.tags[tag].overwrite([0] * len(page.dataoffsets))
    return path


def planes_not_named(folder: Path) -> Path:
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" SizeZ="8" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" FirstZ="2" PlaneCount="6"/>'
        "</Pixels></Image></OME>"
    )
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, ones()[:6], description=text, metadata=None, compression="zlib", photometric="minisblack")
    return path


PARTIAL = {
    "hdf5": (chunked, "1 of 4 chunks (25 %) were never written"),
    "hdf5 filled": (lambda folder: chunked(folder, fillvalue=9), "are read as 9"),
    "mapped in part": (half_mapped, "224 of 512 voxels (43.8 %)"),
    "virtual": (source_not_written, "128 of 512 voxels (25 %)"),
    "zarr 2": (lambda folder: store(folder, zarr_format=2), "1 of 4 chunks (25 %) are not there"),
    "zarr 3": (lambda folder: store(folder, zarr_format=3), "1 of 4 chunks (25 %) are not there"),
    "NaN": (lambda folder: store(folder, zarr_format=2, dtype="f4", fill_value=np.nan), "are read as NaN"),
    "infinite": (lambda folder: store(folder, dtype="f4", fill_value=-np.inf), "are read as -Infinity"),
    "shards": (lambda folder: store(folder, shards=(8, 8, 8)), "1 of 4 chunks (25 %) are not there"),
    "no shard": (lambda folder: store(folder, chunks=(1, 8, 8), shards=(2, 8, 8)), "2 of 8 chunks (25 %)"),
    "planes": (sparse, "2 of 8 planes (25 %)"),
    "strips": (lambda folder: sparse(folder, 4), "4 of 16 strips (25 %)"),
    "ome": (planes_not_named, "2 of 8 planes (25 %)"),
}


@pytest.mark.parametrize("kind", PARTIAL)
def test_parts_that_are_absent_are_counted_once(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    make, message = PARTIAL[kind]
    path = make(tmp_path)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[...], read_volume(path)[0])
    assert (volume[...] == 1).sum() < 512
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and message in warnings[0] and str(path) in warnings[0]


EMPTY = {
    "hdf5": lambda folder: chunked(folder, 0),
    "contiguous": lambda folder: h5py.File(folder / "b.h5", "w").create_dataset("raw", SIDES, np.uint8).file.filename,
    "zarr": lambda folder: create_zarr(folder / "a.zarr", SIDES, np.uint8, (2, 8, 8)).name,
}


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("reader", [read_volume, open_volume])
def test_a_volume_of_which_nothing_is_there_is_refused(tmp_path: Path, kind: str, reader: Any) -> None:
    with pytest.raises(InputError, match=r"all \d+ (chunks|voxels) (were never written|are not there)"):
        reader(EMPTY[kind](tmp_path))


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.zarr", "a.ome.zarr", "a.nii"])
def test_what_we_write_lacks_nothing(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    write_volume(tmp_path / name, np.zeros((70, 130, 130), np.uint8), labels=True)
    assert not read_volume(tmp_path / name)[0].any()
    assert not caplog.records


def test_the_summary_of_blocks_counts_what_is_absent(tmp_path: Path) -> None:
    maps = create_zarr(tmp_path / "maps.zarr", (3, 8, 8, 8), np.uint8, (1, 2, 8, 8))
    maps[:, :6] = np.full((3, 6, 8, 8), 200, np.uint8)
    found = label_volume(tmp_path / "maps.zarr", tmp_path / "o.zarr", BCDWatershed(), block=(4, 4, 4), halo=(1, 1, 1))
    assert re.search(r"% of the voxels certain; of the maps 3 of 12 chunks \(25 %\) are not there", str(found))
