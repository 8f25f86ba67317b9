from __future__ import annotations

import os
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from scripts.errors import InputError
from scripts.volume_io import ChunkedVolume, open_volume, read_volume, write_volume

SIZE = (0.5, 0.25, 0.125)
SHAPE = (20, 30, 40)


def example(dtype: Any = np.uint16, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def tiff(**options: Any) -> Callable[[Path], object]:
    options = {"photometric": "minisblack", **options}
    return lambda path: tifffile.imwrite(path, example(), **options)


def hdf5(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=example(), **options)


def scaled_nifti(path: Path) -> None:
    image = nibabel.Nifti1Image(example(np.int16).T, np.eye(4))
    image.header.set_slope_inter(0.5, 2)
    nibabel.save(image, path)


KINDS: dict[str, tuple[str, Callable[[Path], object], tuple[int, ...]]] = {
    "tiff as we write it": ("a.tif", lambda path: write_volume(path, example(), SIZE), (1, 30, 40)),
    "ome": ("a.ome.tif", lambda path: write_volume(path, example(), SIZE), (1, 30, 40)),
    "plain tiff": ("a.tif", tiff(), (1, 30, 40)),
    "big endian": ("a.tif", tiff(byteorder=">"), (1, 30, 40)),
    "big endian, packed": ("a.tif", tiff(byteorder=">", compression="lzw"), (1, 30, 40)),
    "without metadata": ("a.tif", tiff(metadata=None), (1, 30, 40)),
    "tiles": ("a.tif", tiff(tile=(16, 16)), (1, 30, 40)),
    "imagej": ("a.tif", tiff(imagej=True, metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0}), (1, 30, 40)),
    "imagej, packed": ("a.tif", tiff(imagej=True, metadata={"axes": "ZYX"}, compression="zlib"), (1, 30, 40)),
    "hdf5 as we write it": ("a.h5", lambda path: write_volume(path, example(), SIZE), (20, 30, 40)),
    "hdf5": ("a.h5", hdf5, (1, 30, 40)),
    "chunked hdf5": ("a.h5", lambda path: hdf5(path, chunks=(5, 6, 7), compression="gzip"), (5, 6, 7)),
    "nifti": ("a.nii", lambda path: write_volume(path, example(), SIZE), (1, 30, 40)),
    "scaled nifti": ("a.nii", scaled_nifti, (1, 30, 40)),
    "packed nifti": ("a.nii.gz", lambda path: write_volume(path, example(), SIZE), (1, 30, 40)),
    "zarr": ("a.ome.zarr", lambda path: write_volume(path, example(), SIZE), (20, 30, 40)),
}  # fmt: skip
ALL = pytest.mark.parametrize("kind", KINDS)


def made(folder: Path, kind: str) -> Path:
    name, make, _ = KINDS[kind]
    make(folder / name)
    return folder / name


@ALL
def test_parts_are_those_of_the_whole(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    whole, size = read_volume(path)
    volume = open_volume(path)
    assert isinstance(volume, ChunkedVolume)
    assert (volume.shape, volume.dtype, volume.voxel_size) == (whole.shape, whole.dtype, size)
    assert volume.chunks == KINDS[kind][2] and volume.channel_names == [] and str(path) in volume.name
    boxes: list[Any] = [
        (slice(3, 9), slice(None), slice(5, 6)),
        (slice(-4, None), slice(2, 1000)),
        (slice(19, 20),),
        (..., slice(38, 40)),
        (slice(4, 4), slice(1, 2), slice(1, 2)),
        ...,
    ]
    for box in boxes:
        part = volume[box]
        np.testing.assert_array_equal(part, whole[box])
        assert part.dtype == whole.dtype and part.dtype.isnative and part.flags.writeable


@ALL
def test_volumes_are_pickled_without_their_file(tmp_path: Path, kind: str) -> None:
    volume = open_volume(made(tmp_path, kind))
    first = volume[:2]
    again = pickle.loads(pickle.dumps(volume))
    np.testing.assert_array_equal(again[:2], first)
    volume.close()
    volume.close()
    np.testing.assert_array_equal(volume[:2], first)


@ALL
def test_a_forked_process_and_its_parent_do_not_disturb_each_other(tmp_path: Path, kind: str) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    volume = open_volume(made(tmp_path, kind))
    whole = volume[...]
    child = os.fork()
    try:
        right = all((volume[z : z + 1] == whole[z : z + 1]).all() for _ in range(5) for z in range(20))
    finally:
        if child == 0:
            os._exit(0 if right else 3)
    assert right and os.waitpid(child, 0)[1] == 0


@ALL
def test_threads_take_turns(tmp_path: Path, kind: str) -> None:
    volume = open_volume(made(tmp_path, kind))
    whole, wrong = read_volume(tmp_path / KINDS[kind][0])[0], []

    def read() -> None:
        wrong.extend(z for z in range(20) if not (volume[z : z + 1, 3:] == whole[z : z + 1, 3:]).all())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(("array", "dtype"), [(example() > 50, "uint8"), (example(np.float16), "float32")])
def test_bool_and_half_precision_are_widened(tmp_path: Path, array: np.ndarray, dtype: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = array
    volume = open_volume(tmp_path / "a.h5")
    assert volume.dtype == volume[:1].dtype == dtype
    np.testing.assert_array_equal(volume[3:5], array[3:5])


def test_maps_are_opened_with_four_axes(tmp_path: Path) -> None:
    maps = example(np.uint8, (3, 4, 5, 6))
    write_volume(tmp_path / "a.h5", maps, SIZE, channel_names=["a", "b", "c"])
    volume = open_volume(tmp_path / "a.h5", ndim=4)
    assert volume.shape == maps.shape and volume.chunks == (1, 4, 5, 6) and volume.channel_names == ["a", "b", "c"]
    np.testing.assert_array_equal(volume[1:2, :, 2:3], maps[1:2, :, 2:3])
    write_volume(tmp_path / "a.tif", maps[0])
    with pytest.raises(InputError, match=r"a\.tif: maps \(C, Z, Y, X\) are read from HDF5 and Zarr only"):
        open_volume(tmp_path / "a.tif", ndim=4)


def test_axes_of_length_1_are_dropped(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = example()[:, None, :, :, None]
    volume = open_volume(tmp_path / "a.h5")
    assert volume.shape == SHAPE
    np.testing.assert_array_equal(volume[2:4, 3:5], example()[2:4, 3:5])


@pytest.mark.parametrize("box", [(3,), (slice(0, 9, 2),), (slice(None),) * 4, ([1, 2],)])
def test_other_indices_are_refused(tmp_path: Path, box: Any) -> None:
    write_volume(tmp_path / "a.tif", example())
    with pytest.raises(InputError, match="is no part of a volume"):
        open_volume(tmp_path / "a.tif")[box]


# Only what is asked for is read


@pytest.mark.parametrize("name", ["a.tif", "plain.tif", "a.h5", "a.nii", "a.ome.zarr"])
def test_memory_is_that_of_the_part(tmp_path: Path, name: str) -> None:
    array = np.zeros((1024, 128, 128), np.uint8)  # a chunk of Zarr is a sixteenth of it
    if name == "plain.tif":
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack")
    else:
        write_volume(tmp_path / name, array)
    volume = open_volume(tmp_path / name)
    volume[:1, :1, :1]  # what is loaded once
    tracemalloc.start()
    volume[100:110, 20:30, 20:30]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 8


def test_planes_that_are_not_asked_for_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, example(), photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        start, count = file.pages[7].dataoffsets[0], file.pages[7].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes(count)
    path.write_bytes(data)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[8:], example()[8:])
    with pytest.raises(InputError, match=r"a\.tif .*damaged or cut short"):
        volume[6:9]


def test_packed_nifti_is_read_whole_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = open_volume(made(tmp_path, "packed nifti"))
    assert "unpack" not in caplog.text
    volume[:1]
    volume[1:2]
    assert caplog.text.count("a.nii.gz: packed, so it is read whole; unpack it") == 1


# Damage


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "zarr"])
def test_cut_files_are_errors(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    data = path.read_bytes()
    for share in (0.02, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError, match=rf"{path.name}.*damaged or cut short"):
            open_volume(path)[...]


@pytest.mark.parametrize("name", ["a.tif", "a.h5", "a.nii", "a.zarr"])
def test_a_file_that_changed_shape_is_an_error(tmp_path: Path, name: str) -> None:
    write_volume(tmp_path / name, example())
    volume = open_volume(tmp_path / name)
    write_volume(tmp_path / name, example(shape=(21, 30, 40)))
    with pytest.raises(InputError, match=r"a\..* shape \(21, 30, 40\), which was \(20, 30, 40\) .*start again"):
        volume[:2]


def test_a_file_that_went_is_an_error(tmp_path: Path) -> None:
    for name in ("a.tif", "a.h5", "a.nii", "a.zarr"):
        write_volume(tmp_path / name, example())
        volume = open_volume(tmp_path / name)
        (tmp_path / name).rename(tmp_path / "elsewhere")
        with pytest.raises(InputError, match=rf"{name}.* cannot be read"):
            volume[:2]
        (tmp_path / "elsewhere").rename(tmp_path / f"was_{name}")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("rgb.tif", lambda path: tifffile.imwrite(path, np.zeros((4, 5, 6, 3), np.uint8), photometric="rgb")),
        ("complex.tif", lambda path: tifffile.imwrite(path, example(complex), photometric="minisblack")),
        ("flat.nii", lambda path: nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6), np.uint8), np.eye(4)), path)),
        ("4d.nii", lambda path: nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.uint8), np.eye(4)), path)),
        ("none.h5", lambda path: h5py.File(path, "w").close()),
        ("text.tif", lambda path: path.write_text("hello")),
        ("text.h5", lambda path: path.write_text("hello")),
        ("text.nii", lambda path: path.write_text("hello")),
        ("a.png", lambda path: path.write_text("hello")),
        ("absent.tif", lambda path: None),
    ],
)
def test_bad_files_are_refused_with_the_words_of_reading_whole(tmp_path: Path, name: str, make: Any) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError) as whole:
        read_volume(tmp_path / name)
    with pytest.raises(InputError) as parts:
        open_volume(tmp_path / name)
    assert str(parts.value) == str(whole.value)
