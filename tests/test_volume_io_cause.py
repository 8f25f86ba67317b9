"""A file that cannot be read is called damaged only where nothing else is the cause."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from scripts.errors import InputError
from scripts.volume_io import create_zarr, open_volume, read_maps, read_volume, write_volume
from scripts.volume_io.cause import explain

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
READERS: list[Callable[[Any], Any]] = [read_volume, lambda path: open_volume(path)[1:2]]

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"
HELD = {
    "empty": (b"", "empty (0 bytes)"),
    "zeros": (bytes(500), "begins with zeros only"),
    "a pointer of Git LFS": (LFS, "git lfs pull"),
    "a pointer of git-annex": (b"/annex/objects/SHA256E-s1--4d7a.tif\n", "git annex get"),
    "a web page": (b"\n<!DOCTYPE html><html>404</html>", "a web page (HTML)"),
    "an answer of a server": (b'{"message": "Not Found"}', "a JSON text"),
    "a zip": (b"PK\x03\x04" + bytes(200), "a zip archive"),
    "MATLAB 5": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + b" " * 90, "Save it as -v7.3"),
    "packed": (gzip.compress(b"II*\0" * 50), "packed by gzip"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "it is HDF5. Give it a name that ends in .h5"),
    "TIFF": (b"II*\0" + bytes(500), "it is TIFF. Give it a name that ends in .tif"),
}


def refused(path: Path) -> str:
    """What every reader says of it, in one line."""
    messages = set()
    for read in READERS:
        with pytest.raises(InputError) as caught:
            read(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("case", HELD)
def test_what_a_file_holds_is_named(tmp_path: Path, case: str) -> None:
    content, words = HELD[case]
    for name in ("a.tif", "a.h5", "a.nii", "a.nii.gz"):
        if case in ("HDF5", "TIFF") and name == {"HDF5": "a.h5", "TIFF": "a.tif"}[case]:
            continue
        (tmp_path / name).write_bytes(content)
        message = refused(tmp_path / name)
        expected = "it is TIFF" if case == "packed" and name == "a.nii.gz" else words
        assert expected in message and "damaged" not in message


def test_nifti_that_is_packed_or_not_as_its_name_says(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(ARRAY, np.eye(4)), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content)
    assert "not packed, though its name ends in .gz. Name it .nii." in refused(tmp_path / "b.nii.gz")
    (tmp_path / "c.nii").write_bytes(gzip.compress(content))
    assert "is to end in .nii.gz" in refused(tmp_path / "c.nii")
    (tmp_path / "d.nii.gz").write_bytes(gzip.compress(content)[:12] + bytes(range(255)))
    assert "damaged or cut short" in refused(tmp_path / "d.nii.gz")


@pytest.mark.parametrize(
    ("code", "name"), [(32008, "bitshuffle"), (32004, "LZ4"), (32001, "Blosc"), (32099, "a filter")]
)
def test_a_filter_of_hdf5_that_is_missing_is_named(tmp_path: Path, code: int, name: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4, 5, 6))
        properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4, 5, 6))
        stored = h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, space, properties)
        stored.write_direct_chunk((0, 0, 0), bytes(20))
    message = refused(path)
    assert f"a.h5::raw: compressed by {name} (HDF5 filter {code}), which is not installed" in message
    assert "hdf5plugin" in message and "h5repack" in message


def test_hdf5_that_is_being_written_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["raw"] = ARRAY
        file.swmr_mode = True
        file.flush()
        (tmp_path / "b.h5").write_bytes(path.read_bytes())
    assert "h5clear" in refused(tmp_path / "b.h5")
    locked = BlockingIOError(errno.EAGAIN, "Unable to open file (unable to lock file, errno = 11, error message = 'x')")
    assert "another program has it open for writing" in explain(path, "HDF5", locked)
    content = bytearray(path.read_bytes())
    content[8] = 9
    path.write_bytes(content)
    assert "Update h5py" in refused(path)


def test_codecs_and_extensions_of_zarr_that_are_missing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_zarr(path, ARRAY.shape, ARRAY.dtype, (2, 5, 6), dataset="0")[...] = ARRAY
    metadata = path / "0" / ".zarray"
    text = metadata.read_text()
    metadata.write_text(text.replace("blosc", "jpeg9"))
    assert "its codec 'jpeg9' is not supported" in refused(path)
    metadata.write_text(json.dumps(json.loads(text) | {"filters": [{"id": "shave", "dtype": "<i2"}]}))
    assert "its codec 'shave' is not supported" in refused(path)
    metadata.write_bytes(LFS)
    assert f"{metadata} cannot be read as JSON: it is a pointer of Git LFS" in refused(path)
    metadata.write_text(text)
    for chunk in (path / "0").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(LFS)
    assert "is a pointer of Git LFS" in refused(path)
    create_zarr(tmp_path / "b.zarr", ARRAY.shape, ARRAY.dtype, (2, 5, 6), zarr_format=3)[...] = ARRAY
    metadata = tmp_path / "b.zarr" / "0" / "zarr.json"
    text = metadata.read_text()
    metadata.write_text(text.replace('"blosc"', '"jpeg9"'))
    assert "its codec 'jpeg9' is not supported" in refused(tmp_path / "b.zarr")
    metadata.write_text(json.dumps(json.loads(text) | {"storage_transformers": [{"name": "cache"}]}))
    assert "an extension of Zarr that is not supported" in refused(tmp_path / "b.zarr")


def test_compression_and_descriptions_of_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ARRAY, photometric="minisblack", metadata={"axes": "depth"})
    assert "the axes in its description are not one letter for each axis" in refused(path)
    missing = ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")
    assert "pip install imagecodecs" in explain(path, "TIFF", missing)
    unsupported = ValueError("<COMPRESSION.PIXTIFF: 50013> not supported")
    assert "its compression is not supported" in explain(path, "TIFF", unsupported)
    write_volume(tmp_path / "b.ome.tif", ARRAY)
    content = (tmp_path / "b.ome.tif").read_bytes().replace(b"</Pixels>", b"</Pixelz>")
    (tmp_path / "b.ome.tif").write_bytes(content)
    assert "no valid OME-XML" in refused(tmp_path / "b.ome.tif")


def test_what_the_file_system_says_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ARRAY, photometric="minisblack")
    denied = PermissionError(errno.EACCES, "Permission denied", str(path))
    assert f"Permission denied ({path}). See that you may read the file" in explain(path, "TIFF", denied)
    stale = OSError(errno.ESTALE, "Unable to open file (errno = 116, error message = 'Stale file handle')")
    assert "Stale file handle" in explain(path, "HDF5", stale)
    os.symlink(tmp_path / "nowhere.tif", tmp_path / "b.tif")
    assert "b.tif is a link to" in refused(tmp_path / "b.tif")


@pytest.mark.parametrize("channels", [3, "RGB"])
def test_channels_that_are_no_names_are_ignored(tmp_path: Path, channels: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = ARRAY[None].repeat(2, axis=0)
        file["raw"].attrs["channels"] = channels
    assert read_maps(tmp_path / "a.h5")[0].shape == (2, 4, 5, 6)
    assert open_volume(tmp_path / "a.h5", ndim=4).channel_names == []


def test_sizes_that_are_no_numbers_do_not_make_a_file_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ome.tif"
    write_volume(path, ARRAY, (0.5, 0.2, 0.2))
    path.write_bytes(path.read_bytes().replace(b'PhysicalSizeZ="0.5"', b'PhysicalSizeZ="0,5"'))
    assert (read_volume(path)[1], open_volume(path).voxel_size) == (None, None)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "PhysicalSize (z, y, x) is ['0,5', '0.2', '0.2']" in message
    image = nibabel.Nifti1Image(ARRAY, np.eye(4))
    image.header["xyzt_units"] = 5
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii")[0].shape == (6, 5, 4)
    assert "has the code 5, which NIfTI does not define" in caplog.text
