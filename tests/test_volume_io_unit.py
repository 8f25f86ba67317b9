"""Voxel sizes in every spelling of a unit: converted, or unknown with one warning; never mixed or silently lost."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from scripts.volume_io import create_zarr, open_volume, read_volume
from scripts.volume_io.unit import in_micrometres, is_without_length, length_unit
from scripts.volume_io.zarr_node import write_attributes

NM, SIZE = [500, 200, 100], (0.5, 0.2, 0.1)

SPELLINGS = {
    "nm": ["nm", "NM", "nanometer", "Nanometers", "nanometre", b"nm", np.array(["nm"]), " nm ", "[nm]"],
    "um": ["um", "\u00b5m", "\u03bcm", "\\u00B5m", "\\u00b5m", "micron", "Microns", "micrometer", "micrometres"],
    "mm": ["mm", "MM", "millimetre"],
    "cm": ["cm", "centimeters"],
    "m": ["m", "metre", "meters"],
    "inch": ["inch", "in", "inches"],
    "angstrom": ["\u00c5", "\u212b", "A", "angstrom", "\u00e5ngstr\u00f6m"],
    "pm": ["pm", "picometer"],
}
NO_UNITS = ["pixel", "px", "voxels", "", None, "Mm", "foo", "s", "unknown"]


def test_spellings_of_units() -> None:
    for unit, texts in SPELLINGS.items():
        assert [length_unit(text) for text in texts] == [unit] * len(texts)
    assert length_unit("\u00b5m".encode("latin-1")) == length_unit("\u00c2\u00b5m") == "um"
    assert [length_unit(text) for text in NO_UNITS] == [None] * len(NO_UNITS)
    assert is_without_length("Pixel") and is_without_length(None) and not is_without_length("foo")


def test_units_may_differ_from_axis_to_axis() -> None:
    assert in_micrometres((500, 0.2, 1e-4), ("nm", "um", "mm"), "a") == pytest.approx((0.5, 0.2, 0.1))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


ATTRIBUTES: dict[str, tuple[dict[str, Any], Any]] = {
    "ours": ({"element_size_um": SIZE}, SIZE),
    "without a unit": ({"voxel_size": SIZE}, SIZE),
    "unit": ({"voxel_size": NM, "unit": "nm"}, SIZE),
    "units": ({"voxel_size": NM, "units": ["nm", "nanometer", "NM"]}, SIZE),
    "units in a text": ({"voxel_size": NM, "units": "nm,nm,nm"}, SIZE),
    "its own unit": ({"voxel_size": NM, "voxel_size_unit": b"nm", "units": "counts"}, SIZE),
    "spatial_unit": ({"spacing": NM, "spatial_unit": "nanometers"}, SIZE),
    "resolution": ({"resolution": NM, "units": "nm"}, SIZE),
    "in the name": ({"resolution_nm": NM}, SIZE),
    "voxel_size_nm": ({"voxel_size_nm": NM, "units": "a.u."}, SIZE),
    "mixed": ({"pixel_size": [500, 0.2, 1e-4], "units": ["nm", "um", "mm"]}, SIZE),
    "one for all axes": ({"voxel_size": 0.5, "unit": "\u00b5m"}, (0.5,) * 3),
    "pixels": ({"voxel_size": NM, "unit": "pixel"}, None),
    "nothing": ({"resolution_level": 3, "unit": "nm"}, None),
}
UNKNOWN: dict[str, dict[str, Any]] = {
    "no such unit": {"voxel_size": NM, "unit": "furlong"},
    "for some axes": {"voxel_size": NM, "units": ["nm", "", ""]},
    "for two axes": {"voxel_size": NM, "units": ["nm", "nm"]},
    "contradictory": {"voxel_size_um": NM, "unit": "nm"},
    "without a unit": {"resolution": NM},
    "two sizes": {"voxel_size": [1, 2], "unit": "nm"},
    "zero": {"voxel_size": [0, 1, 1]},
}


def hdf5(path: Path, attributes: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        file["raw"] = np.zeros((2, 3, 4), np.uint8)
        file["raw"].attrs.update(attributes)
    return path


def zarr(path: Path, attributes: dict[str, Any]) -> Path:
    create_zarr(path, (2, 3, 4), np.uint8, (2, 2, 2))[...] = np.ones((2, 3, 4), np.uint8)
    text = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
    (path / "0" / ".zattrs").write_text(json.dumps(text))
    return path


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_attributes_give_micrometres(tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture) -> None:
    attributes, expected = ATTRIBUTES[case]
    for path in (hdf5(tmp_path / "a.h5", attributes), zarr(tmp_path / "a.zarr", attributes)):
        for size in (read_volume(path)[1], open_volume(path).voxel_size):
            assert size is None if expected is None else size == pytest.approx(expected)
    assert not warnings(caplog)


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_uncertain_size_is_unknown_with_one_warning(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (hdf5(tmp_path / "a.h5", UNKNOWN[case]), zarr(tmp_path / "a.zarr", UNKNOWN[case])):
        caplog.clear()
        assert (read_volume(path)[1], open_volume(path).voxel_size) == (None, None)
        (message,) = warnings(caplog)
        assert str(path) in message and "unknown" in message


def test_attributes_of_groups_and_of_other_programs(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", {})
    with h5py.File(path, "a") as file:
        file.attrs.update({"voxel_size": NM, "unit": "nm"})
    assert read_volume(path)[1] == pytest.approx(SIZE)
    with h5py.File(path, "a") as file:  # a unit of the file is that of the dataset's size
        file["raw"].attrs["voxel_size"] = [50, 50, 50]
    assert read_volume(path)[1] == pytest.approx((0.05,) * 3)
    transform = {"transform": {"axes": ["x", "y", "z"], "scale": NM[::-1], "units": ["nm"] * 3}}
    assert read_volume(zarr(tmp_path / "a.zarr", transform))[1] == pytest.approx(SIZE)
    resolution = {"pixelResolution": {"dimensions": NM[::-1], "unit": "nm"}}
    assert read_volume(zarr(tmp_path / "b.zarr", resolution))[1] == pytest.approx(SIZE)


OME = {
    "each its own": (["micrometer", "nanometer", "\u00b5m"], [0.5, 200, 0.1], SIZE, False),
    "for all axes": (["nanometer"] * 3, NM, SIZE, False),
    "for none": ([None] * 3, SIZE, SIZE, False),
    "three numbers": (["micrometer"] * 3, SIZE, SIZE, False),
    "for some axes": (["micrometer", None, None], SIZE, None, True),
    "no such unit": (["parsnip"] * 3, SIZE, None, True),
    "two numbers": (["micrometer"] * 3, [1, 2], None, True),
}


@pytest.mark.parametrize("case", OME)
def test_scales_of_ome_zarr(tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture) -> None:
    units, scale, expected, warned = OME[case]
    path = tmp_path / "a.ome.zarr"
    channel = case == "three numbers"
    sides, chunks = ((1, 2, 3, 4), (1, 2, 2, 2)) if channel else ((2, 3, 4), (2, 2, 2))
    create_zarr(path, sides, np.uint8, chunks)[...] = np.ones(sides, np.uint8)
    axes: list[Any] = [{"name": "c", "type": "channel"}] if channel else []
    axes += [{"name": name} | ({"unit": unit} if unit else {}) for name, unit in zip("zyx", units, strict=True)]
    image = {"axes": axes, "datasets": [{"path": "0"}]}
    write_attributes(
        path, 2, {"multiscales": [image | {"coordinateTransformations": [{"type": "scale", "scale": scale}]}]}
    )
    array, size = read_volume(path)
    assert array.shape == (2, 3, 4)
    assert size is None if expected is None else size == pytest.approx(expected)
    assert open_volume(path).voxel_size == size
    assert [str(path) in message for message in warnings(caplog)] == [True] * warned


TIFF: dict[str, tuple[dict[str, Any], Any, bool]] = {
    "unit of tifffile": ({"metadata": {"axes": "ZYX", "spacing": 500, "unit": "nm"}}, SIZE, False),
    "ImageJ": ({"imagej": True, "metadata": {"axes": "ZYX", "spacing": 500, "unit": "nm"}}, SIZE, False),
    "ImageJ, z in another unit": (
        {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.5, "unit": "nm", "zunit": "micron"}},
        SIZE,
        False,
    ),
    "ImageJ, no such unit": (
        {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 500, "unit": "furlong"}},
        None,
        True,
    ),
    "OME, for some axes": (
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 500, "PhysicalSizeY": 200, "PhysicalSizeX": 100}
         | {"PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "nm"}},
        None,
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TIFF)
def test_units_of_tiff(tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture) -> None:
    options, expected, warned = TIFF[case]
    path = tmp_path / "a.tif"
    array = np.zeros((2, 3, 4), np.uint8)
    tifffile.imwrite(path, array, photometric="minisblack", resolution=(1 / 100, 1 / 200), **options)
    size = read_volume(path)[1]
    assert size is None if expected is None else size == pytest.approx(expected)
    assert open_volume(path).voxel_size == size
    assert [str(path) in message for message in warnings(caplog)] == [True] * warned
