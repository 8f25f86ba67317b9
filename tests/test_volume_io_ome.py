from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from scripts.errors import InputError
from scripts.volume_io import (
    create_zarr,
    open_volume,
    pyramid_factors,
    read_channel_names,
    read_maps,
    read_volume,
    write_ome_metadata,
    write_volume,
)
from scripts.volume_io.zarr_node import write_attributes

SIZE = (0.5, 0.25, 0.25)
FORMATS = pytest.mark.parametrize("zarr_format", [2, 3])


def image(path: Path, zarr_format: int = 2, channels: int = 0, labels: bool = False) -> Path:
    """An image of (64, 96, 80) in three levels, each voxel of level i being i + 1."""
    shape = (64, 96, 80)
    factors = pyramid_factors(shape, SIZE, (32, 32, 32))
    names = [f"map {i}" for i in range(channels)]
    for i, by in enumerate(factors):
        sides = (*[channels][: bool(channels)], *(-(-side // f) for side, f in zip(shape, by, strict=True)))
        chunks = (*[1] * bool(channels), 32, 32, 32)
        volume = create_zarr(path, sides, np.uint8, chunks, zarr_format=zarr_format, dataset=str(i))
        volume[...] = np.full(sides, i + 1, np.uint8)
    levels = [(str(i), by) for i, by in enumerate(factors)]
    write_ome_metadata(path, "cells", levels, SIZE, labels=labels, channel_names=names, zarr_format=zarr_format)
    return path


def attributes(path: Path) -> dict[str, Any]:
    if (path / "zarr.json").is_file():
        return json.loads((path / "zarr.json").read_text())["attributes"]
    return json.loads((path / ".zattrs").read_text())


def set_attributes(path: Path, content: dict[str, Any]) -> None:
    (path / ".zattrs").write_text(json.dumps(content))


# What we write, judged by others


@FORMATS
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("channels", [0, 3])
def test_the_metadata_are_valid(tmp_path: Path, zarr_format: int, labels: bool, channels: int) -> None:
    models = pytest.importorskip("ome_zarr_models")
    path = image(tmp_path / "a.ome.zarr", zarr_format, channels, labels)
    group = models.open_ome_zarr(zarr.open_group(path, mode="r"))
    assert type(group).__name__ == ("ImageLabel" if labels else "Image")
    assert type(group).__module__.split(".")[1] == ("v04" if zarr_format == 2 else "v05")
    found = group.attributes if zarr_format == 2 else group.ome_attributes
    (multiscale,) = found.multiscales
    axes = [(axis.name, axis.type, axis.unit) for axis in multiscale.axes]
    assert axes[bool(channels) :] == [(name, "space", "micrometer") for name in "zyx"]
    assert len(multiscale.axes) == 3 + bool(channels) and multiscale.axes[0].name == ("c" if channels else "z")
    assert [level.path for level in multiscale.datasets] == ["0", "1", "2"]
    steps = [[step.model_dump() for step in level.coordinateTransformations] for level in multiscale.datasets]
    assert steps[0][0]["scale"][-3:] == list(SIZE) and steps[1][0]["scale"][-3:] == [0.5, 0.5, 0.5]
    assert steps[1][1]["translation"][-3:] == [0.0, 0.125, 0.125]  # the middle of two voxels


def test_labels_written_whole_are_valid_and_have_a_pyramid(tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models")
    labels = np.zeros((20, 200, 200), np.uint64)
    labels[:, 50:100, 50:100] = 2**40 + 1
    write_volume(tmp_path / "a.ome.zarr", labels, SIZE, labels=True)
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    assert type(models.open_ome_zarr(group)).__name__ == "ImageLabel"
    assert group.attrs["multiscales"][0]["name"] == "a"
    np.testing.assert_array_equal(group["0"][:], labels)
    np.testing.assert_array_equal(group["1"][:], labels[:, ::2, ::2])
    assert group["1"].dtype == np.uint64 and sorted(group) == ["0", "1"]


@FORMATS
def test_other_attributes_stay_and_nothing_else_is_left(tmp_path: Path, zarr_format: int) -> None:
    path = image(tmp_path / "a.ome.zarr", zarr_format)
    write_attributes(path, zarr_format, {"note": "ours"})
    write_ome_metadata(path, "again", [("0", (1, 1, 1))], SIZE, labels=True, zarr_format=zarr_format)
    found = attributes(path)
    assert found["note"] == "ours" and found.get("ome", found)["multiscales"][0]["name"] == "again"
    files = {entry.name for entry in path.iterdir() if entry.is_file()}
    assert files == ({".zgroup", ".zattrs"} if zarr_format == 2 else {"zarr.json"})


def test_metadata_need_their_levels_and_their_version(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.ome\.zarr: no array '0'"):
        write_ome_metadata(tmp_path / "a.ome.zarr", "a", [("0", (1, 1, 1))], SIZE, labels=False)
    create_zarr(tmp_path / "a.ome.zarr", (4, 4, 4), np.uint8, (4, 4, 4))
    with pytest.raises(InputError, match=r"expected \(1, 1, 1\), not voxel sizes"):
        write_ome_metadata(tmp_path / "a.ome.zarr", "a", [("0", SIZE)], SIZE, labels=False)
    with pytest.raises(InputError, match="a group of Zarr version 2; expected a group of version 3"):
        write_ome_metadata(tmp_path / "a.ome.zarr", "a", [("0", (1, 1, 1))], SIZE, labels=False, zarr_format=3)


# Which level


@FORMATS
@pytest.mark.parametrize(
    ("wanted", "level"),
    [(None, 0), (SIZE, 0), ((0.5, 0.5, 0.5), 1), ((0.5, 0.4, 0.4), 1), ((9, 9, 9), 2), ((0.1, 0.1, 0.1), 0)],
)
def test_the_level_with_the_nearest_voxel_size_is_opened(
    tmp_path: Path, zarr_format: int, wanted: Any, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = image(tmp_path / "a.ome.zarr", zarr_format)
    volume = open_volume(path, voxel_size=wanted)
    assert (volume[:1, :1, :1] == level + 1).all()
    assert volume.voxel_size == [SIZE, (0.5, 0.5, 0.5), (1, 1, 1)][level]
    assert (f"level {level}, of voxels of" in caplog.text) == (wanted is not None)


@pytest.mark.parametrize("name", ["a.ome.zarr::1", "a.ome.zarr/1"])
@FORMATS
def test_a_named_level_is_opened_with_its_voxel_size(tmp_path: Path, zarr_format: int, name: str) -> None:
    image(tmp_path / "a.ome.zarr", zarr_format)
    volume = open_volume(tmp_path / name, voxel_size=(9, 9, 9))
    assert volume.shape == (64, 48, 40) and volume.voxel_size == (0.5, 0.5, 0.5)
    assert volume.name == str(tmp_path / name)
    array, size = read_volume(tmp_path / name)
    assert array.shape == (64, 48, 40) and size == (0.5, 0.5, 0.5)


@FORMATS
def test_labels_below_an_image_are_opened_by_name(tmp_path: Path, zarr_format: int) -> None:
    path = image(tmp_path / "a.ome.zarr", zarr_format)
    image(path / "labels" / "instances", zarr_format, labels=True)
    assert open_volume(f"{path}::labels/instances").shape == (64, 96, 80)
    assert open_volume(f"{path}::labels/instances", voxel_size=(1, 1, 1)).shape == (32, 24, 20)
    assert open_volume(path).shape == (64, 96, 80)


def test_the_only_image_of_a_collection_is_found(tmp_path: Path) -> None:
    image(tmp_path / "a.zarr" / "0")  # as bioformats2raw lays it out
    (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    assert open_volume(tmp_path / "a.zarr").voxel_size == SIZE


# As others write it


def multiscales(axes: Any, scale: Any, **more: Any) -> dict[str, Any]:
    level = {"path": "0", **({"coordinateTransformations": [{"type": "scale", "scale": scale}]} if scale else {})}
    return {"multiscales": [{**({"axes": axes} if axes else {}), "datasets": [level], **more}]}


def axes_of(names: str, unit: str | None = "nanometer") -> list[dict[str, Any]]:
    return [{"name": name, **({"unit": unit} if unit and name in "zyx" else {})} for name in names]


@pytest.mark.parametrize(
    ("content", "shape", "expected"),
    [
        (multiscales(axes_of("tczyx"), [1, 1, 40, 8, 8]), (1, 1, 4, 5, 6), (0.04, 0.008, 0.008)),
        (multiscales(axes_of("zyx", "micrometer"), [2, 1, 1]), (4, 5, 6), (2, 1, 1)),
        (multiscales(axes_of("zyx", None), [2, 1, 1]), (4, 5, 6), (2, 1, 1)),
        (multiscales(axes_of("zyx", None), [1, 1, 1]), (4, 5, 6), None),
        (multiscales(axes_of("zyx", "parsec"), [2, 1, 1]), (4, 5, 6), None),
        (multiscales(list("zyx"), None), (4, 5, 6), None),  # version 0.3
        (multiscales(None, None), (1, 1, 4, 5, 6), None),  # version 0.1
        (
            multiscales(axes_of("zyx"), [1, 2, 2], coordinateTransformations=[{"type": "scale", "scale": [40, 4, 4]}]),
            (4, 5, 6),
            (0.04, 0.008, 0.008),
        ),
    ],
)
def test_voxel_sizes_as_others_write_them(tmp_path: Path, content: Any, shape: Any, expected: Any) -> None:
    array = np.arange(120, dtype=np.uint16).reshape(shape)
    zarr.create_array(tmp_path / "a.zarr" / "0", data=array, zarr_format=2, chunks=(2,) * len(shape))
    set_attributes(tmp_path / "a.zarr", content)
    found, size = read_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found, array.reshape(4, 5, 6))
    assert size is None if expected is None else size == pytest.approx(expected)


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ("czyx", (2, 4, 5, 6), r"4D, axes czyx of shape \(2, 4, 5, 6\); expected \(Z, Y, X\)"),
        ("tzyx", (2, 4, 5, 6), "axes tzyx"),
        ("tczyx", (1, 2, 4, 5, 6), "axes tczyx"),
        ("cyx", (4, 5, 6), "axes cyx"),
        ("xyx", (4, 5, 6), "axes xyx"),
    ],
)
def test_several_channels_and_other_axes_are_refused(tmp_path: Path, axes: str, shape: Any, words: str) -> None:
    create_zarr(tmp_path / "a.zarr", shape[-4:], np.uint8, (2,) * len(shape[-4:]))
    metadata = json.loads((tmp_path / "a.zarr" / "0" / ".zarray").read_text())
    metadata |= {"shape": shape, "chunks": [2] * len(shape)}
    (tmp_path / "a.zarr" / "0" / ".zarray").write_text(json.dumps(metadata))
    set_attributes(tmp_path / "a.zarr", multiscales(axes_of(axes), [1] * len(shape)))
    with pytest.raises(InputError, match=words) as caught:
        open_volume(tmp_path / "a.zarr")
    assert "one channel, one time point" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [{"multiscales": [{}]}, {"multiscales": 5}, {"multiscales": [{"axes": ["z"], "datasets": [{"path": 0}, 3]}]}],
)
def test_damaged_metadata_are_refused(tmp_path: Path, content: Any) -> None:
    create_zarr(tmp_path / "a.zarr", (4, 5, 6), np.uint8, (2, 2, 2))
    set_attributes(tmp_path / "a.zarr", content)
    with pytest.raises(InputError, match=r"a\.zarr: metadata 'multiscales' is not understood"):
        open_volume(tmp_path / "a.zarr")


def test_a_level_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    path = image(tmp_path / "a.ome.zarr")
    (path / "1" / ".zarray").unlink()
    with pytest.raises(InputError, match="name a level '1', which is not there"):
        open_volume(path, voxel_size=(0.5, 0.5, 0.5))


# Channels


@FORMATS
def test_maps_have_their_channel_names(tmp_path: Path, zarr_format: int) -> None:
    path = image(tmp_path / "a.ome.zarr", zarr_format, channels=2)
    volume = open_volume(path, ndim=4)
    assert volume.shape == (2, 64, 96, 80) and volume.channel_names == ["map 0", "map 1"]
    assert read_channel_names(path) == ["map 0", "map 1"]
    maps, size = read_maps(path)
    assert maps.shape == (2, 64, 96, 80) and size == SIZE
    with pytest.raises(InputError, match="expected"):
        open_volume(path)


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.zarr"])
@pytest.mark.parametrize("names", [[], ["foreground", "contour"]])
def test_maps_are_written_with_and_without_names(tmp_path: Path, name: str, names: list[str]) -> None:
    maps = np.random.default_rng(0).integers(0, 255, (2, 5, 6, 7)).astype(np.uint8)
    write_volume(tmp_path / name, maps, SIZE, channel_names=names)
    found, size = read_maps(tmp_path / name)
    np.testing.assert_array_equal(found, maps)
    assert size == SIZE and read_channel_names(tmp_path / name) == names
