from __future__ import annotations

import stat
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from monai.transforms import LoadImaged
from scripts.errors import InputError
from scripts.volume_io import (
    VolumeReader,
    check_writable,
    list_volumes,
    open_volume,
    read_maps,
    read_volume,
    tiff,
    write_volume,
)

SIZE = (0.28371837, 0.12678642, 0.12756972)
FORMATS = (".tif", ".ome.tif", ".h5", ".nii", ".nii.gz")


def example(dtype: Any = np.uint8, shape: tuple[int, ...] = (6, 20, 3)) -> np.ndarray:
    """Distinct sides, the last one as a colour axis would be."""
    values = np.random.default_rng(0).integers(0, 100, shape)
    values.flat[:2] = 0, 1
    return values.astype(dtype)


# Round trips


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float32", "float64"]
)
def test_values_and_voxel_size_come_back(tmp_path: Path, ending: str, dtype: str) -> None:
    array = example(dtype)
    write_volume(tmp_path / f"a{ending}", array, SIZE)
    result, voxel_size = read_volume(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(result, array)
    assert voxel_size == pytest.approx(SIZE, rel=1e-6)
    assert result.flags.c_contiguous and result.flags.writeable
    if dtype in ("uint8", "uint16", "int16", "float32", "float64", "uint32"):
        assert result.dtype == array.dtype


@pytest.mark.parametrize("ending", FORMATS)
def test_without_a_voxel_size_none_is_made_up(tmp_path: Path, ending: str) -> None:
    write_volume(tmp_path / f"a{ending}", example())
    assert read_volume(tmp_path / f"a{ending}")[1] is None


@pytest.mark.parametrize("ending", FORMATS)
def test_bool_becomes_0_and_1(tmp_path: Path, ending: str) -> None:
    write_volume(tmp_path / f"a{ending}", example() > 50)
    result, _ = read_volume(tmp_path / f"a{ending}")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, example() > 50)


@pytest.mark.parametrize(
    ("ending", "largest", "smallest", "stored"),
    [
        (".tif", 65535, 0, "uint16"),
        (".tif", 65536, 0, "uint32"),
        (".tif", 65536, -1, "int32"),
        (".nii", 2**31 - 1, 0, "int32"),
        (".nii", 2**31, 0, "int64"),
        (".h5", 2**40, 0, "int64"),
    ],
)
def test_int64_ids_are_stored_in_the_smallest_common_type_that_holds_them(
    tmp_path: Path, ending: str, largest: int, smallest: int, stored: str
) -> None:
    array = example(np.int64)
    array[0, 0, :2] = largest, smallest
    write_volume(tmp_path / f"a{ending}", array)
    result, _ = read_volume(tmp_path / f"a{ending}")
    assert result.dtype == stored
    np.testing.assert_array_equal(result, array)


def test_ids_that_do_not_fit_are_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_volume(path, example())
    with pytest.raises(InputError, match=r"a\.tif: values from 0 to 1099511627776 do not fit"):
        write_volume(path, np.where(example() > 50, 2**40, 0))
    np.testing.assert_array_equal(read_volume(path)[0], example())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_maps_come_back_from_hdf5_with_their_voxel_size(tmp_path: Path) -> None:
    maps = example(np.uint8, (4, 40, 20, 30))  # more planes than a chunk has
    write_volume(tmp_path / "pred.h5", maps, SIZE)
    result, voxel_size = read_maps(tmp_path / "pred.h5")
    np.testing.assert_array_equal(result, maps)
    assert voxel_size == pytest.approx(SIZE)
    with h5py.File(tmp_path / "pred.h5") as file:
        assert list(file) == ["main"] and file["main"].chunks is not None and file["main"].compression == "gzip"


@pytest.mark.parametrize("ending", [".tif", ".nii.gz"])
def test_maps_are_not_written_to_formats_of_one_volume(tmp_path: Path, ending: str) -> None:
    with pytest.raises(InputError, match=r"\(3, 4, 5, 6\); write \.h5"):
        write_volume(tmp_path / f"a{ending}", example(shape=(3, 4, 5, 6)))


# TIFF as others write it


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("um", 1), ("micron", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3), ("inch", 25400), (None, 1)],
)
def test_imagej_spacing_is_read_in_its_unit(tmp_path: Path, unit: str | None, factor: float) -> None:
    meta = {"axes": "ZYX", "spacing": 3.0, **({"unit": unit} if unit else {})}
    tifffile.imwrite(tmp_path / "a.tif", example(np.uint16), imagej=True, resolution=(0.5, 0.25), metadata=meta)
    array, voxel_size = read_volume(tmp_path / "a.tif")
    assert voxel_size == pytest.approx((3 * factor, 4 * factor, 2 * factor))
    np.testing.assert_array_equal(array, example())


def test_imagej_leaves_out_a_spacing_of_1(tmp_path: Path) -> None:
    meta = {"axes": "ZYX", "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", example(), imagej=True, resolution=(2, 2), metadata=meta)
    assert read_volume(tmp_path / "a.tif")[1] == pytest.approx((1, 0.5, 0.5))


@pytest.mark.parametrize("meta", [{"spacing": 2.0, "unit": "pixel"}, {}])
def test_imagej_without_a_length_has_no_voxel_size(tmp_path: Path, meta: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", example(), imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", **meta})
    assert read_volume(tmp_path / "a.tif")[1] is None


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"Z": (40, "nm"), "Y": (0.01, "µm"), "X": (0.02, None)}, (0.04, 0.01, 0.02)),
        ({"Y": (0.01, "µm"), "X": (0.02, "µm")}, None),
        ({"Z": (1, "pixel"), "Y": (1, "pixel"), "X": (1, "pixel")}, None),
        ({"Z": (0, "µm"), "Y": (1, "µm"), "X": (1, "µm")}, None),
    ],
)
def test_ome_sizes_are_read_in_their_units(
    tmp_path: Path, sizes: dict[str, tuple[float, str | None]], expected: tuple[float, ...] | None
) -> None:
    meta: dict[str, Any] = {"axes": "ZYX"}
    for axis, (size, unit) in sizes.items():
        meta |= {f"PhysicalSize{axis}": size} | ({f"PhysicalSize{axis}Unit": unit} if unit else {})
    tifffile.imwrite(tmp_path / "a.ome.tif", example(), photometric="minisblack", metadata=meta)
    voxel_size = read_volume(tmp_path / "a.ome.tif")[1]
    assert voxel_size is None if expected is None else voxel_size == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"compression": "lzw"},
        {"tile": (16, 16)},
        {"metadata": None},
        {"imagej": True, "metadata": {"axes": "TZCYX"}},
        {"bigtiff": True},
    ],
)
def test_kinds_of_tiff(tmp_path: Path, options: dict[str, Any]) -> None:
    array = example(np.uint16, (6, 20, 30))
    shaped = array[None, :, None] if options.get("imagej") else array
    tifffile.imwrite(tmp_path / "a.TIFF", shaped, photometric="minisblack", **options)
    result, _ = read_volume(tmp_path / "a.TIFF")
    assert result.dtype == np.dtype("uint16") and result.dtype.isnative
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize(
    ("name", "options"), [("a.tif", {"imagej": True}), ("a.ome.tif", {"photometric": "minisblack"})]
)
def test_many_planes_marked_as_channels_are_planes(
    tmp_path: Path, name: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    array = example(shape=(9, 20, 30))
    tifffile.imwrite(tmp_path / name, array, **options)  # tifffile's own guess of the axes is CYX
    np.testing.assert_array_equal(read_volume(tmp_path / name)[0], array)
    assert "the 9 planes of its C axis are taken as Z" in caplog.text


def test_imagej_shows_all_ids_of_labels_and_grey_values_as_it_likes(tmp_path: Path) -> None:
    array = example(np.uint16)
    write_volume(tmp_path / "ids.tif", array, SIZE, labels=True)
    write_volume(tmp_path / "grey.tif", array, SIZE)
    write_volume(tmp_path / "none.tif", 0 * array, labels=True)
    stated = {}
    for name in ("ids", "grey", "none"):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            stated[name] = file.imagej_metadata or {}
    assert (stated["ids"]["min"], stated["ids"]["max"]) == (0, array.max())
    assert "max" not in stated["grey"] and "max" not in stated["none"]
    assert (stated["ids"]["spacing"], stated["ids"]["unit"], stated["ids"]["slices"]) == (SIZE[0], "um", len(array))


def test_tiff_of_bits_is_read_as_0_and_1(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", example() > 50, photometric="minisblack")
    assert read_volume(tmp_path / "a.tif")[0].dtype == np.uint8


def test_large_volumes_are_written_as_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_BYTES", 100)
    write_volume(tmp_path / "a.tif", example(), SIZE)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff and file.is_ome
    array, voxel_size = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(array, example())
    assert voxel_size == pytest.approx(SIZE)


def test_writing_a_stack_needs_planes_not_a_second_volume(tmp_path: Path) -> None:
    array = np.zeros((64, 128, 128), np.int64)
    tracemalloc.start()
    write_volume(tmp_path / "a.tif", array)
    write_volume(tmp_path / "a.h5", array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 4


# HDF5


def test_a_dataset_is_named_in_the_path_or_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["volumes/raw"], file["volumes/label"], file["names"] = example(), example() + 1, np.arange(3)
    np.testing.assert_array_equal(read_volume(f"{path}::volumes/raw")[0], example())
    np.testing.assert_array_equal(read_volume(f"{path}::/volumes/label")[0], example() + 1)
    np.testing.assert_array_equal(read_volume(path, dataset="volumes/label")[0], example() + 1)
    np.testing.assert_array_equal(read_volume(f"{path}::volumes/raw", dataset="volumes/label")[0], example())
    with pytest.raises(
        InputError, match=r"a\.h5: which dataset\? It has: names .*volumes/label .*volumes/raw \(6, 20, 3\) uint8"
    ):
        read_volume(path)
    with pytest.raises(InputError, match=r"no dataset 'main'; it has: names .*volumes/raw"):
        read_volume(path, dataset="main")


@pytest.mark.parametrize("shape", [(6, 20, 3), (1, 6, 20, 3), (6, 20, 3, 1)])
def test_the_only_volume_is_taken_whatever_its_name(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["vol0"], file["meta"] = example().reshape(shape), np.arange(3)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.hdf5")[0], example())


@pytest.mark.parametrize("place", ["raw", "/"])
def test_hdf5_voxel_size_is_an_attribute_of_the_dataset_or_the_file(tmp_path: Path, place: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = example()
        file[place].attrs["element_size_um"] = SIZE
    assert read_volume(tmp_path / "a.h5")[1] == pytest.approx(SIZE)


def test_an_output_can_name_its_dataset(tmp_path: Path) -> None:
    write_volume(f"{tmp_path / 'a.h5'}::instances", example())
    np.testing.assert_array_equal(read_volume(tmp_path / "a.h5", dataset="instances")[0], example())


def test_maps_are_read_from_hdf5_alone(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", example())
    with pytest.raises(InputError, match=r"a\.tif: maps .* HDF5 and Zarr only"):
        read_maps(tmp_path / "a.tif")
    write_volume(tmp_path / "a.h5", example())
    with pytest.raises(InputError, match=r"a\.h5::main: 3D, shape \(6, 20, 3\); expected \(C, Z, Y, X\)"):
        read_maps(tmp_path / "a.h5")


# NIfTI

OBLIQUE = np.array([[-0.1, 0.02, 0, 5], [0.03, 0.2, 0, -7], [0, 0, 0.3, 9], [0, 0, 0, 1.0]])


def _nibabel(path: Path) -> Any:
    return nibabel.load(path)


def test_nifti_is_transposed(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(example().T, np.diag([1, 2, 3, 1.0])), tmp_path / "a.nii.gz")
    array, voxel_size = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(array, example())
    assert voxel_size == (3, 2, 1)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1), ("mm", 1e3), ("meter", 1e6), ("unknown", 1)])
def test_nifti_sizes_are_read_in_their_unit(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(example().T, np.diag([1, 2, 3, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii")[1] == pytest.approx((3 * factor, 2 * factor, factor))


def test_trailing_axes_of_length_1_are_dropped(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(example().T[..., None, None], np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii")[0], example())


def test_scaled_nifti_becomes_float32(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(example(np.int16).T, np.eye(4))
    image.header.set_slope_inter(0.5, 2)
    nibabel.save(image, tmp_path / "a.nii")
    array, _ = read_volume(tmp_path / "a.nii")
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, example() * 0.5 + 2)


def test_scaled_nifti_of_complex_numbers_is_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(example(np.complex64).T, np.eye(4))
    image.header.set_slope_inter(0.5, 2)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.nii: values of type complex64; expected integers or floats"):
        read_volume(tmp_path / "a.nii")


def test_an_affine_is_written_to_nifti_and_its_lengths_elsewhere(tmp_path: Path) -> None:
    affine = OBLIQUE[:, [2, 1, 0, 3]]
    for name in ("a.nii", "a.tif"):
        write_volume(tmp_path / name, example(), affine=affine, unit="mm")
        expected = np.linalg.norm(affine[:3, :3], axis=0) * 1000
        assert read_volume(tmp_path / name)[1] == pytest.approx(expected, rel=1e-6)
    image = _nibabel(tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine, OBLIQUE, rtol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_sides_beyond_16_bits_need_nifti_2(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", example(shape=(2, 2, 32768)))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii")[0], example(shape=(2, 2, 32768)))


# Errors of reading


def _imwrite(*shape: int, **options: Any) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, example(shape=shape), **options)


def _dataset(array: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["main"] = array

    return write


def _nifti(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def _sizes_differ(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        for side in (16, 32):
            writer.write(example(shape=(4, side, side)), photometric="minisblack")


RGB = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])

BAD_FILES = {
    "2D TIFF": ("a.tif", _imwrite(20, 30), "axes YX of shape (20, 30), a 2D image; expected a stack"),
    "RGB TIFF": ("a.tif", _imwrite(20, 30, 3, photometric="rgb"), "a colour (RGB) image; expected one grey value"),
    "RGBA stack": ("a.tif", _imwrite(5, 20, 30, 4, photometric="rgb", extrasamples=[2]), "a colour (RGB) image"),
    "channels": ("a.tif", _imwrite(5, 2, 20, 30, imagej=True, metadata={"axes": "ZCYX"}), "axes ZCYX of shape (5, 2"),
    "time": ("a.tif", _imwrite(5, 20, 30, imagej=True, metadata={"axes": "TYX"}), "axes TYX of shape (5, 20,"),
    "colours": ("a.ome.tif", _imwrite(5, 20, 30, metadata={"axes": "CYX"}, photometric="minisblack"), "axes CYX"),
    "4D unnamed": ("a.tif", _imwrite(2, 5, 20, 30, photometric="minisblack"), "axes QQYX of shape (2, 5, 20, 30)"),
    "several": ("a.tif", _sizes_differ, "2 images ("),
    "no TIFF": ("a.tif", lambda path: path.write_text("hello"), "cannot be read as TIFF, it is damaged or cut short"),
    "empty TIFF": ("a.tif", lambda path: path.write_bytes(b""), "cannot be read as TIFF"),
    "complex": ("a.tif", lambda path: tifffile.imwrite(path, example(complex), photometric="minisblack"), "complex128"),
    "no HDF5": ("a.h5", lambda path: path.write_text("hello"), "cannot be read as HDF5"),
    "empty HDF5": ("a.h5", lambda path: h5py.File(path, "w").close(), "which dataset? It has: none"),
    "2D HDF5": ("a.h5", _dataset(np.zeros((5, 6))), "a.h5::main: 2D, shape (5, 6); expected (Z, Y, X)"),
    "4D HDF5": ("a.h5", _dataset(np.zeros((2, 4, 5, 6))), "a.h5::main: 4D, shape (2, 4, 5, 6); expected (Z, Y, X)"),
    "text": ("a.h5", _dataset(["a", "b"]), "a.h5::main: values of type"),
    "coloured HDF5": ("a.h5", _dataset(RGB), "an RGB image"),
    "no NIfTI": ("a.nii", lambda path: path.write_text("hello"), "cannot be read as NIfTI"),
    "no gzip": ("a.nii.gz", lambda path: path.write_text("hello"), "cannot be read as NIfTI"),
    "2D NIfTI": ("a.nii", _nifti(np.zeros((5, 6), np.uint8)), "2D, shape (5, 6)"),
    "4D NIfTI": ("a.nii.gz", _nifti(np.zeros((4, 5, 6, 2), np.uint8)), "4D, shape (4, 5, 6, 2) (x, y, z, …)"),
    "RGB NIfTI": ("a.nii", _nifti(RGB), "an RGB image"),
    "picture": ("a.png", lambda path: path.write_bytes(b""), "extension '.png'; expected that of a volume: .tif"),
    "nothing": ("a.tif", lambda path: (path.parent / "b.tif").touch(), "no such file (its folder holds b.tif)"),
    "no folder": ("b/a.tif", lambda path: None, "no such file (there is no folder"),
    "folder": ("a.tif", lambda path: path.mkdir(), "is a folder; name a file in it"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_by_name_also_by_way_of_monai(tmp_path: Path, case: str) -> None:
    name, make, words = BAD_FILES[case]
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
    # MONAI's own readers must not get to try their luck
    with pytest.raises(InputError) as caught:
        LoadImaged("image", reader=VolumeReader)({"image": path})
    assert words in str(caught.value)


def test_datasets_belong_to_hdf5(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", example())
    with pytest.raises(InputError, match=r"a\.tif: only HDF5 files and Zarr stores have datasets; leave out '::main'"):
        read_volume(f"{tmp_path / 'a.tif'}::main")


def _cut(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        yield data[: int(len(data) * share)]


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_tiff_is_an_error_not_a_smaller_volume(
    tmp_path: Path, options: dict[str, Any], compression: str | None
) -> None:
    path = tmp_path / "a.tif"
    array = np.random.default_rng(0).integers(0, 255, (16, 64, 64)).astype(np.uint8)
    tifffile.imwrite(path, array, photometric="minisblack", compression=compression, **options)
    assert read_volume(path)[0].shape == array.shape
    for part in list(_cut(path)):
        path.write_bytes(part)
        with pytest.raises(InputError, match=r"a\.tif .*damaged or cut short"):
            read_volume(path)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(("planes", "back"), [(3, 0), (3, 2), (150, 120)])
def test_planes_in_a_circle_are_refused(tmp_path: Path, planes: int, back: int, bigtiff: bool) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "minisblack", "contiguous": False, "metadata": None, "bigtiff": bigtiff}
    tifffile.imwrite(path, np.zeros((planes, 8, 8), np.uint8), **options)
    assert read_volume(path)[0].shape == (planes, 8, 8)
    with tifffile.TiffFile(path) as file:
        form, first, last = file.tiff, file.pages[back], file.pages[planes - 1]
        end = last.offset + form.tagnosize + len(last.tags) * form.tagsize
    with open(path, "r+b") as raw:
        raw.seek(end)
        assert raw.read(form.offsetsize) == bytes(form.offsetsize)  # nothing follows
        raw.seek(end)
        raw.write(struct.pack(form.offsetformat, first.offset))
    for read in (read_volume, open_volume):
        with pytest.raises(InputError, match=rf"a\.tif is damaged: plane {planes - 1} is followed by plane {back}\."):
            read(path)


@pytest.mark.parametrize("ending", [".h5", ".nii", ".nii.gz"])
def test_cut_files_are_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_volume(path, np.random.default_rng(0).integers(0, 255, (16, 64, 64)).astype(np.uint8))
    for part in list(_cut(path)):
        path.write_bytes(part)
        with pytest.raises(InputError, match=r"a\..* cannot be read as .*damaged or cut short"):
            read_volume(path)


# Lists and outputs


def test_patterns_are_sorted_and_lists_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "c.tif", "d.h5", "odd[1].tif", "odd1.tif"):
        write_volume(tmp_path / name, example())
    names = [str(tmp_path / name) for name in ("a.tif", "b.tif", "c.tif")]
    assert list_volumes(names[1]) == [names[1]]
    assert list_volumes(Path(names[1])) == [names[1]]
    assert list_volumes(str(tmp_path / "?.tif")) == names
    assert list_volumes([names[2], names[0]]) == [names[2], names[0]]
    assert list_volumes([names[2], str(tmp_path / "[ab].tif")]) == [names[2], *names[:2]]
    assert list_volumes(str(tmp_path / "*.h5::raw")) == [f"{tmp_path / 'd.h5'}::raw"]
    assert list_volumes(str(tmp_path / "odd[1].tif")) == [str(tmp_path / "odd[1].tif")]
    write_volume(tmp_path / "in" / "deep" / "f.tif", example())
    assert list_volumes(str(tmp_path / "**" / "f.tif")) == [str(tmp_path / "in" / "deep" / "f.tif")]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("none.tif", r"none\.tif: no such file"),
        ("*.tiff", r"\*\.tiff: no file matches"),
        ("", "No volume is given"),
        ([], "No volume is given"),
        (None, "No volume is given"),
    ],
)
def test_a_list_of_nothing_is_an_error(spec: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list_volumes(spec)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.png", "expected that of a volume"),
        ("folder.tif", "is a folder; the output needs the name of a file"),
        ("file.tif/a.tif", r"file\.tif is a file, not a folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_known_before(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "file.tif").touch()
    with pytest.raises(InputError, match=words):
        check_writable(tmp_path / name)
    with pytest.raises(InputError, match=words):
        write_volume(tmp_path / name, example())


def test_a_folder_without_permission_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.volume_io.paths.os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="no permission to write"):
        check_writable(tmp_path / "new" / "a.tif")


def test_checking_makes_nothing_and_writing_makes_the_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "a.h5::main")
    assert not list(tmp_path.iterdir())
    write_volume(tmp_path / "new" / "a.tif", example())
    assert stat.S_IMODE((tmp_path / "new" / "a.tif").stat().st_mode) & 0o600 == 0o600


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{ending}"
    write_volume(path, example())

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scripts.volume_io.paths.os.replace", fail)
    with pytest.raises(InputError, match=r"a\..* cannot be written: .*No space left"):
        write_volume(path, example() + 1)
    np.testing.assert_array_equal(read_volume(path)[0], example())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("array", "voxel_size", "words"),
    [
        (np.zeros((4, 5)), None, r"shape \(4, 5\) is no volume"),
        (np.zeros((0, 4, 5)), None, "none of them 0"),
        (np.zeros((4, 5, 6), complex), None, "complex128; expected integers or floats"),
        (np.zeros((4, 5, 6)), (1, 2), "expected three positive"),
        (np.zeros((4, 5, 6)), (1, 2, -1), "expected three positive"),
        (np.zeros((4, 5, 6)), (1, 2, float("nan")), "expected three positive"),
    ],
)
def test_what_is_no_volume_is_not_written(tmp_path: Path, array: np.ndarray, voxel_size: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_volume(tmp_path / "a.h5", array, voxel_size)
    assert not list(tmp_path.iterdir())


# Real files


@pytest.mark.parametrize(("name", "nuclei"), [("1135_mini.h5", 54), ("1136_mini.h5", 32)])
def test_real_hdf5(shared: Path, name: str, nuclei: int) -> None:
    path = shared / "data" / "gonuclear" / name
    if not path.is_file():
        pytest.skip(f"{name} is not among the development data")
    raw, voxel_size = read_volume(f"{path}::raw")
    label, _ = read_volume(path, dataset="label")
    assert raw.shape == label.shape == (100, 100, 100) and raw.dtype == np.uint8
    assert voxel_size == pytest.approx((0.284, 0.127, 0.127), abs=1e-3)
    assert np.count_nonzero(np.bincount(label.ravel())[1:]) == nuclei
    with pytest.raises(InputError, match=r"which dataset\? It has: label .*raw"):
        read_volume(path)


def test_real_tiff(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "nucexm"
    if not folder.is_dir():
        pytest.skip("nucexm is not among the development data")
    image, voxel_size = read_volume(folder / "v4_image.tif")
    label, _ = read_volume(folder / "v4_label.tif")
    assert image.shape == label.shape == (128, 320, 320) and voxel_size is None
    assert (image.dtype, label.dtype) == (np.uint8, np.uint16)
    assert np.count_nonzero(np.bincount(label.ravel())[1:]) == 3076
    write_volume(tmp_path / "label.nii.gz", label[:16], (2.5, 1.3, 1.3))
    np.testing.assert_array_equal(read_volume(tmp_path / "label.nii.gz")[0], label[:16])


# Signs


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_signed_cells_of_bigdataviewer_are_unsigned(tmp_path: Path, compression: str | None) -> None:
    values = np.linspace(0, 65535, 120).astype(np.uint16).reshape(4, 5, 6)
    with h5py.File(tmp_path / "bdv.h5", "w") as file:
        file["s00/resolutions"] = np.ones((1, 3))
        file.create_dataset("t00000/s00/0/cells", data=values.view(np.int16), chunks=(2, 5, 6), compression=compression)
        file["other"] = values.view(np.int16)
    path = f"{tmp_path / 'bdv.h5'}::t00000/s00/0/cells"
    array, volume = read_volume(path)[0], open_volume(path)
    assert array.dtype == volume.dtype == np.uint16
    np.testing.assert_array_equal(array, values)
    np.testing.assert_array_equal(volume[2:, 1:3], values[2:, 1:3])
    assert read_volume(f"{tmp_path / 'bdv.h5'}::other")[0].dtype == np.int16


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}])
def test_signed_16_bits_of_imagej_have_no_offset(tmp_path: Path, options: dict[str, Any]) -> None:
    values = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    stored = (values.astype(int) + 32768).astype(np.uint16)
    says = "ImageJ=1.54g\nimages=4\nslices=4\ncf=0\nc0=-32768.0\nc1=1.0\nvunit=Gray Value\n"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", metadata=None, description=says, **options)
    array, volume = read_volume(tmp_path / "a.tif")[0], open_volume(tmp_path / "a.tif")
    assert array.dtype == volume.dtype == np.int16
    np.testing.assert_array_equal(array, values)
    np.testing.assert_array_equal(volume[1:, 2:4], values[1:, 2:4])
