"""MONAI's LoadImaged and SaveImaged over all formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, Flipd, LoadImaged, SaveImaged
from scripts.errors import InputError
from scripts.volume_io import VolumeReader, VolumeWriter, read_channel_names, read_maps, read_volume, write_volume

SIZE = (0.28371837, 0.12678642, 0.12756972)
FORMATS = (".tif", ".ome.tif", ".h5", ".nii", ".nii.gz")
OBLIQUE = np.array([[-0.1, 0.02, 0, 5], [0.03, 0.2, 0, -7], [0, 0, 0.3, 9], [0, 0, 0, 1.0]])


def example(dtype: Any = np.uint8, shape: tuple[int, ...] = (6, 20, 3)) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 100, shape)
    values.flat[:2] = 0, 1
    return values.astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", torch.uint8),
        ("int16", torch.int16),
        ("float32", torch.float32),
        ("uint16", torch.int32),
        ("uint32", torch.int64),
    ],
)
@pytest.mark.parametrize("ending", FORMATS)
def test_load_imaged_keeps_the_type_with_dtype_none(
    tmp_path: Path, ending: str, dtype: str, expected: torch.dtype
) -> None:
    path = tmp_path / f"a{ending}"
    write_volume(path, example(dtype), SIZE)
    load = LoadImaged("image", reader=VolumeReader, dtype=None, ensure_channel_first=True, image_only=True)
    for name in (path, str(path)):
        image = load({"image": name})["image"]
        assert isinstance(image, MetaTensor) and image.shape == (1, 6, 20, 3) and image.dtype == expected
        np.testing.assert_array_equal(image[0], example())
        assert image.meta["filename_or_obj"] == str(path)
        np.testing.assert_allclose(image.pixdim, SIZE, rtol=1e-6)
        np.testing.assert_allclose(image.meta["voxel_size"], SIZE, rtol=1e-6)
        assert tuple(image.meta["spatial_shape"]) == (6, 20, 3)


def test_the_reader_takes_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["label"] = example(), example() + 1
    for options in ({"reader": VolumeReader(dataset="raw")}, {"reader": VolumeReader, "dataset": "raw"}):
        image = LoadImaged("image", **options)({"image": path})["image"]
        np.testing.assert_array_equal(image, example())
    label = LoadImaged("label", reader=VolumeReader)({"label": f"{path}::label"})["label"]
    np.testing.assert_array_equal(label, example() + 1)


def test_the_reader_knows_its_suffixes_and_reads_one_file() -> None:
    reader = VolumeReader()
    assert reader.verify_suffix(["a.tif", Path("b.OME.TIF"), "c.h5::raw", "d.nii.gz", "e.nii"])
    assert not reader.verify_suffix("a.png") and not reader.verify_suffix(["a.tif", "b.png"])
    with pytest.raises(InputError, match="several files for one volume"):
        LoadImaged("image", reader=VolumeReader)({"image": ["a.tif", "b.tif"]})


LOAD = LoadImaged("image", reader=VolumeReader, dtype=None, ensure_channel_first=True)

CONFIG = """
load:
  _target_: LoadImaged
  keys: [image]
  reader: {reader}
  dtype: null
  ensure_channel_first: true
save:
  _target_: SaveImaged
  keys: [image]
  writer: {writer}
  output_dir: {folder}
  output_ext: .h5
  output_postfix: copy
  separate_folder: false
  resample: false
  print_log: false
  output_dtype: null
"""


@pytest.mark.parametrize(
    ("reader", "writer", "dataset"),
    [
        ("scripts.volume_io.VolumeReader", "scripts.volume_io.VolumeWriter", "main"),
        (
            "{_target_: scripts.volume_io.VolumeReader, dataset: raw}",
            "{_target_: scripts.volume_io.VolumeWriter, _mode_: callable, dataset: other}",
            "other",
        ),
    ],
)
def test_reader_and_writer_are_named_in_yaml(tmp_path: Path, reader: str, writer: str, dataset: str) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.format(reader=reader, writer=writer, folder=tmp_path / "out"))
    write_volume(tmp_path / "a.h5", example(), SIZE, dataset="raw")
    parser = ConfigParser()
    parser.read_config(tmp_path / "config.yaml")
    parser.get_parsed_content("save")(parser.get_parsed_content("load")({"image": tmp_path / "a.h5"}))
    array, voxel_size = read_volume(tmp_path / "out" / "a_copy.h5", dataset=dataset)
    np.testing.assert_array_equal(array, example())
    assert array.dtype == np.uint8 and voxel_size == pytest.approx(SIZE)


def _saver(folder: Path, ending: str, **options: Any) -> SaveImaged:
    settings: dict[str, Any] = {"output_postfix": "segm", "separate_folder": False, "print_log": False} | options
    return SaveImaged("image", writer=VolumeWriter, output_dir=folder, output_ext=ending, resample=False, **settings)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_ids_and_voxel_size_go_from_any_format_to_any(tmp_path: Path, source: str, target: str) -> None:
    ids = example(np.uint32) + 2**25  # float32, SaveImaged's default, has no room for these
    write_volume(tmp_path / f"in{source}", ids, SIZE)
    data = LOAD({"image": tmp_path / f"in{source}"})
    _saver(tmp_path / "out", target)(data)
    (path,) = (tmp_path / "out").iterdir()
    array, voxel_size = read_volume(path)
    np.testing.assert_array_equal(array, ids)
    assert voxel_size == pytest.approx(SIZE, rel=1e-6)


@pytest.mark.parametrize("unit", ["mm", "micron", "unknown"])
@pytest.mark.parametrize("scale", [1.0, 3e-4])
def test_nifti_comes_back_with_its_exact_affine(tmp_path: Path, unit: str, scale: float) -> None:
    affine = np.diag([scale, scale, scale, 1]) @ OBLIQUE
    image = nibabel.Nifti1Image(example(np.int16).T, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    data = LOAD({"image": tmp_path / "a.nii.gz"})
    _saver(tmp_path, ".nii.gz")(data)
    result: Any = nibabel.load(tmp_path / "a_segm.nii.gz")
    source: Any = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(result.affine, source.affine)
    np.testing.assert_array_equal(np.asarray(result.dataobj), example().T)
    assert result.header.get_xyzt_units()[0] == unit and result.get_data_dtype() == np.int16


def test_flips_go_into_the_affine(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", example(), SIZE)
    steps = Compose(
        [LoadImaged("image", reader=VolumeReader, dtype=None, ensure_channel_first=True), Flipd("image", 2)]
    )
    _saver(tmp_path, ".nii")(steps({"image": tmp_path / "a.tif"}))
    image: Any = nibabel.load(tmp_path / "a_segm.nii")
    np.testing.assert_allclose(image.affine[:3, :3], np.diag((-SIZE[2], SIZE[1], SIZE[0])), rtol=1e-6)
    assert read_volume(tmp_path / "a_segm.nii")[1] == pytest.approx(SIZE, rel=1e-6)


def test_maps_are_scaled_by_truncation_or_to_the_nearest() -> None:
    maps = torch.tensor([-1.0, 0.0, 0.1, 0.5, 0.999, 1.0, 2.0]).repeat(2, 3, 4, 1)
    for rounding, row in (("truncate", [0, 0, 25, 127, 254, 255, 255]), ("nearest", [0, 0, 26, 128, 255, 255, 255])):
        writer = VolumeWriter(output_dtype=np.float32, scale=255, rounding=rounding)
        writer.set_data_array(maps)
        scaled = writer._converted("a.h5")
        assert scaled.dtype == np.uint8 and scaled.shape == (2, 3, 4, 7)
        assert scaled[1, 2, 3].tolist() == row


def test_save_imaged_scales_maps_into_hdf5(tmp_path: Path) -> None:
    _saver(tmp_path, ".h5", scale=255)({"image": MetaTensor(torch.full((4, 5, 6, 7), 0.5))})
    (path,) = tmp_path.iterdir()
    maps, voxel_size = read_maps(path)
    assert maps.shape == (4, 5, 6, 7) and maps.dtype == np.uint8 and (maps == 127).all() and voxel_size is None


@pytest.mark.parametrize("values", [np.uint8, np.int32])
def test_scaling_leaves_integers(tmp_path: Path, values: Any) -> None:
    _saver(tmp_path, ".h5", scale=255)({"image": torch.as_tensor(example(values))[None]})
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(read_volume(path)[0], example())


def test_integers_are_cast_only_where_they_fit(tmp_path: Path) -> None:
    ids = torch.as_tensor(example(np.int64))[None]
    _saver(tmp_path, ".tif", output_dtype=np.uint8)({"image": ids})
    assert read_volume(next(tmp_path.iterdir()))[0].dtype == np.uint8
    with pytest.raises(RuntimeError, match="values from 0 to 1000 do not fit into uint8"):
        _saver(tmp_path, ".tif", output_dtype=np.uint8)({"image": torch.where(ids == 1, 1000, ids)})


@pytest.mark.parametrize("dtype", [None, np.float64])
def test_floats_are_stored_as_asked(tmp_path: Path, dtype: Any) -> None:
    _saver(tmp_path, ".h5", output_dtype=dtype)({"image": torch.as_tensor(example(np.float32))[None]})
    assert read_volume(next(tmp_path.iterdir()))[0].dtype == (dtype or np.float32)


def test_a_volume_without_channel_can_be_written(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", example(), SIZE)
    _saver(tmp_path, ".tif")(LoadImaged("image", reader=VolumeReader, dtype=None)({"image": tmp_path / "a.tif"}))
    np.testing.assert_array_equal(read_volume(tmp_path / "a_segm.tif")[0], example())


def test_the_writer_does_not_replace_its_source(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", example())
    data = LoadImaged("image", reader=VolumeReader, ensure_channel_first=True)({"image": tmp_path / "a.tif"})
    with pytest.raises(RuntimeError, match=r"a\.tif is the input itself; choose another"):
        _saver(tmp_path, ".tif", output_postfix="")(data)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif")[0], example())


@pytest.mark.parametrize("name", ["with$no_such_maps.h5", "$HOME_instances.tif"])
def test_a_dollar_in_the_name_of_a_result_is_a_part_of_it(tmp_path: Path, name: str) -> None:
    writer = VolumeWriter(output_dtype=np.uint16)
    writer.set_data_array(np.ones((4, 5, 6), np.uint16), channel_dim=None)
    writer.write(str(tmp_path / name))
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_writer_refuses_to_resample_and_options_it_does_not_know() -> None:
    writer = VolumeWriter()
    writer.set_metadata({"affine": np.eye(4), "original_affine": np.eye(4)}, resample=True)
    with pytest.raises(InputError, match="does not resample"):
        writer.set_metadata({"affine": np.eye(4), "original_affine": 2 * np.eye(4)}, resample=True)
    with pytest.raises(InputError, match="scale 3, rounding 'up'"):
        VolumeWriter(scale=3, rounding="up")


def test_metadata_survive_a_batch_of_files_with_and_without_voxel_size(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", example(), SIZE)
    write_volume(tmp_path / "b.nii.gz", example())
    dataset = Dataset([{"image": tmp_path / "a.tif"}, {"image": tmp_path / "b.nii.gz"}], LOAD)
    (batch,) = DataLoader(dataset, batch_size=2)
    for item, ending in zip(decollate_batch(batch), (".tif", ".h5"), strict=True):
        _saver(tmp_path / "out", ending)(item)
    assert read_volume(tmp_path / "out" / "a_segm.tif")[1] == pytest.approx(SIZE)
    assert read_volume(tmp_path / "out" / "b_segm.h5")[1] is None


@pytest.mark.parametrize("names", [["foreground", "contour"], ["affinity 1", "affinity 2", "affinity 3"]])
@pytest.mark.parametrize("with_image", [False, True])
def test_maps_carry_the_names_of_their_channels(tmp_path: Path, names: list[str], with_image: bool) -> None:
    path = tmp_path / "maps.h5"
    writer = VolumeWriter(channel_names=names)
    writer.set_data_array(np.zeros((len(names) + with_image, 4, 5, 6), np.uint8))
    writer.write(path)
    assert read_channel_names(path) == ["image"] * with_image + names
    assert read_maps(path)[0].shape == (len(names) + with_image, 4, 5, 6)


def test_files_without_names_of_channels_say_none(tmp_path: Path) -> None:
    write_volume(tmp_path / "maps.h5", np.zeros((3, 4, 5, 6), np.uint8))
    assert read_channel_names(tmp_path / "maps.h5") == []
    write_volume(tmp_path / "one.tif", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(InputError, match="HDF5 and Zarr only"):
        read_channel_names(tmp_path / "one.tif")
