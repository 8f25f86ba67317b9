"""Axes that a file names are honoured, whole and part by part, or rejected by what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from monai.transforms import LoadImaged
from scripts.errors import InputError
from scripts.volume_io import VolumeReader, create_zarr, open_volume, read_maps, read_volume
from scripts.volume_io.axis import arrange, axis_letter, axis_letters
from scripts.volume_io.zarr_node import write_attributes

LENGTHS = {"z": 4, "y": 5, "x": 6, "c": 1, "t": 1}
VOLUME = np.arange(120, dtype=np.uint16).reshape(4, 5, 6)
MAPS = np.arange(360, dtype=np.uint8).reshape(3, 4, 5, 6)
BOX = (slice(1, 3), slice(0, 4), slice(2, 5))


def stored(order: str) -> np.ndarray:
    """The volume with its axes in another order, and others of length 1."""
    extended = VOLUME.reshape(1, 1, *VOLUME.shape)  # t, c, z, y, x
    kept = extended.transpose(["tczyx".index(axis) for axis in order] + [i for i in (0, 1) if "tc"[i] not in order])
    return kept.reshape([LENGTHS[axis] for axis in order])


def ilastik(order: str, **more: Any) -> str:
    return json.dumps({"axes": [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in order]})


def hdf5(path: Path, order: str, attributes: dict[str, Any], array: np.ndarray | None = None) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=stored(order) if array is None else array, chunks=True)
        data.attrs.update(attributes)
    return path


def dimension_labels(path: Path) -> None:
    with h5py.File(hdf5(path, "xzy", {}), "a") as file:
        for axis, name in enumerate(("X", "Z", "Y")):
            file["raw"].dims[axis].label = name


def dimension_scales(path: Path) -> None:
    with h5py.File(hdf5(path, "yxz", {}), "a") as file:
        for axis, name in enumerate("yxz"):
            file[name] = np.arange(LENGTHS[name], dtype=float)
            file[name].make_scale("This is a netCDF dimension but not a netCDF variable.")
            file["raw"].dims[axis].attach_scale(file[name])


def nexus(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("entry")
        group["raw"] = stored("xyz")
        group.attrs.update({"signal": "raw", "axes": ["x", "y", "z"]})


def of_the_file(path: Path) -> None:
    with h5py.File(hdf5(path, "xyz", {}), "a") as file:
        file.attrs["axis_order"] = "xyz"


def of_the_group(path: Path) -> None:
    zarr(path, "xyz", {})
    write_attributes(path, 2, {"axes": ["x", "y", "z"]})


def zarr(path: Path, order: str, attributes: dict[str, Any], zarr_format: int = 2, names: Any = None) -> None:
    array = stored(order)
    volume = create_zarr(path, array.shape, array.dtype, (2,) * array.ndim, zarr_format=zarr_format, dataset="raw")
    volume[...] = array
    file = path / "raw" / ("zarr.json" if zarr_format == 3 else ".zattrs")
    found = json.loads(file.read_text()) if file.exists() else {}
    if zarr_format == 3:
        found |= {"dimension_names": names, "attributes": attributes}
    file.write_text(json.dumps(found if zarr_format == 3 else attributes))


def ome(path: Path, order: str, unit: str = "micrometer") -> None:
    zarr(path, order, {})
    axes = [{"name": name, "type": "space", "unit": unit} for name in order]
    scale = [{"z": 0.5, "y": 0.25, "x": 0.125}[name] for name in order]
    levels = [{"path": "raw", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    write_attributes(path, 2, {"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]})


def tiff(path: Path, axes: str, compression: str | None = None) -> None:
    array = stored(axes.lower())
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": axes}, compression=compression)


NAMED: dict[str, tuple[str, Callable[[Path], object]]] = {
    **{
        f"ilastik {order}": ("a.h5", lambda path, order=order: hdf5(path, order, {"axistags": ilastik(order)}))
        for order in ("zyx", "xyz", "xyzc", "yxz", "zxy", "tzyxc", "txyzc", "cxyz")
    },
    "axes as bytes": ("a.h5", lambda path: hdf5(path, "xyz", {"axes": np.bytes_(b"XYZ")})),
    "axes in a list": ("a.h5", lambda path: hdf5(path, "xyzt", {"axes": ["X", "y", "Z", "time"]})),
    "axis_order in words": ("a.h5", lambda path: hdf5(path, "yxz", {"axis_order": "height, width, depth"})),
    "axes with spaces": ("a.h5", lambda path: hdf5(path, "xyz", {"axes": "(X Y Z)"})),
    "dimension_order of Bio-Formats": ("a.h5", lambda path: hdf5(path, "tczyx", {"dimension_order": "XYZCT"})),
    "_ARRAY_DIMENSIONS": ("a.h5", lambda path: hdf5(path, "xyz", {"_ARRAY_DIMENSIONS": ["x", "y", "z"]})),
    "unnamed dimensions": ("a.h5", lambda path: hdf5(path, "zyx", {"_ARRAY_DIMENSIONS": ["dim_0", "dim_1", "dim_2"]})),
    "other attributes": ("a.h5", lambda path: hdf5(path, "zyx", {"dimensions": [6, 5, 4], "axes": "5", "dims": "C"})),
    "fewer names, axes of length 1": ("a.h5", lambda path: hdf5(path, "cxyz", {"axes": "xyz"})),
    "dimension labels": ("a.h5", dimension_labels),
    "dimension scales": ("a.h5", dimension_scales),
    "attribute of the file": ("a.h5", of_the_file),
    "attribute of the group": ("a.zarr", of_the_group),
    "NeXus": ("a.h5", nexus),
    "xarray in zarr 2": ("a.zarr", lambda path: zarr(path, "xyz", {"_ARRAY_DIMENSIONS": ["x", "y", "z"]})),
    "dimension_names of zarr 3": ("a.zarr", lambda path: zarr(path, "xzy", {}, 3, ["X", "depth", "row"])),
    "unnamed in zarr 3": ("a.zarr", lambda path: zarr(path, "zyx", {}, 3, [None, "dim_1", None])),
    "OME-Zarr": ("a.ome.zarr", lambda path: ome(path, "xyz")),
    **{
        f"TIFF {axes} {how}": ("a.tif", lambda path, axes=axes, how=how: tiff(path, axes, how))
        for axes in ("XYZ", "zxy", "YXZ", "XYZC", "TXYZ")
        for how in (None, "zlib")
    },
}


@pytest.mark.parametrize("case", NAMED)
def test_named_axes_are_brought_to_zyx_by_every_reader(tmp_path: Path, case: str) -> None:
    name, make = NAMED[case]
    path = tmp_path / name
    make(path)
    array, _ = read_volume(path)
    np.testing.assert_array_equal(array, VOLUME)
    assert array.flags.c_contiguous
    volume = open_volume(path)
    assert volume.shape == VOLUME.shape
    np.testing.assert_array_equal(volume[...], VOLUME)
    np.testing.assert_array_equal(volume[BOX], VOLUME[BOX])
    loaded = LoadImaged("image", reader=VolumeReader, dtype=None)({"image": path})["image"]
    np.testing.assert_array_equal(np.asarray(loaded), VOLUME)


def test_maps_with_the_channels_last_are_read_channels_first(tmp_path: Path) -> None:
    order = {"axistags": ilastik("xyzc")}
    path = hdf5(tmp_path / "a.h5", "", order, MAPS.transpose(3, 2, 1, 0))
    np.testing.assert_array_equal(read_maps(path)[0], MAPS)
    np.testing.assert_array_equal(open_volume(path, ndim=4)[1:, :, 2:], MAPS[1:, :, 2:])


def test_a_part_is_written_where_it_is_read(tmp_path: Path) -> None:
    zarr(tmp_path / "a.zarr", "xyz", {"axes": ["x", "y", "z"]})
    volume = open_volume(tmp_path / "a.zarr")
    volume[BOX] = VOLUME[BOX] + np.uint16(7)  # type: ignore[index]
    expected = VOLUME.copy()
    expected[BOX] += 7
    np.testing.assert_array_equal(volume[...], expected)


def test_voxel_sizes_follow_the_axes(tmp_path: Path) -> None:
    attributes = {"axistags": ilastik("xyzc"), "voxel_size": [0.125, 0.25, 0.5]}
    assert read_volume(hdf5(tmp_path / "a.h5", "xyzc", attributes))[1] == (0.5, 0.25, 0.125)
    ome(tmp_path / "a.ome.zarr", "xyz")
    assert read_volume(tmp_path / "a.ome.zarr")[1] == (0.5, 0.25, 0.125)


@pytest.mark.parametrize(
    ("order", "attributes", "words"),
    [
        ("xyz", {"axistags": ilastik("xyx")}, "axes xyx"),
        ("xyz", {"axistags": ilastik("tyx")}, "axes tyx"),
        ("xyz", {"axistags": ilastik("cyx")}, "axes cyx"),
        ("xyz", {"axes": "yx"}, "axes names 2 axes, 'yx'"),
        ("xyz", {"axes": "xyz", "axis_order": "zyx"}, "contradictory axes, axes says xyz, axis_order says zyx"),
    ],
)
def test_other_axes_are_rejected_by_name(tmp_path: Path, order: str, attributes: Any, words: str) -> None:
    for read in (read_volume, open_volume):
        with pytest.raises(InputError, match=rf"a\.h5::raw.*{words}"):
            read(hdf5(tmp_path / "a.h5", order, attributes))


def test_a_store_whose_group_and_array_disagree_is_rejected(tmp_path: Path) -> None:
    ome(tmp_path / "a.ome.zarr", "xyz")
    (tmp_path / "a.ome.zarr" / "raw" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["z", "y", "x"]}')
    with pytest.raises(InputError, match="contradictory axes, the group says xyz, the array zyx"):
        read_volume(tmp_path / "a.ome.zarr")


def test_axes_of_matlab_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = read_volume(hdf5(tmp_path / "a.h5", "zyx", {"MATLAB_class": np.bytes_(b"uint16")}))[0]
    np.testing.assert_array_equal(array, VOLUME)
    assert "written by MATLAB, which stores arrays by columns; axes (4, 5, 6) are taken as (z, y, x)" in caplog.text


def test_names_that_files_give_to_axes() -> None:
    given = {"z": ["Z", b"depth", "slices", "dim_z"], "x": ["Width", "x [um]", "x-axis"], "?": ["dim_0", "", None, 7]}
    for letter, names in given.items():
        assert [axis_letter(name) for name in names] == [letter] * len(names)
    assert axis_letters("Z, Y, X") == axis_letters(["depth", "height", "width"]) == axis_letters("z_y_x") == "zyx"
    assert axis_letters("fixed") == axis_letters("") == axis_letters(None) == ""


def test_one_unnamed_axis_is_the_missing_one_if_only_one_order_is_possible() -> None:
    assert arrange("?xy", (4, 6, 5), 3, "a") == (0, 2, 1)
    assert arrange("?", (4, 5, 6), 3, "a") == (0, 1, 2)
    with pytest.raises(InputError, match=r"a: 3D, axes x\?\? of shape \(6, 5, 4\)"):
        arrange("x??", (6, 5, 4), 3, "a")
