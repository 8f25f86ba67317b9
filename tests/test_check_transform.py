from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged
from scripts.check.array import check_image, check_label, check_maps
from scripts.check.transform import CheckImaged, CheckLabeld
from scripts.errors import InputError
from scripts.volume_io import VolumeReader, write_volume


def image(dtype: Any = np.float32, shape: tuple[int, ...] = (8, 16, 16)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_an_image_of_any_number_passes(dtype: Any) -> None:
    check_image(image(dtype), "a.tif")
    check_image(image(dtype)[None], "a.tif")
    check_image(MetaTensor(torch.as_tensor(image())[None]), "a.tif")


def _with(value: float) -> np.ndarray:
    array = image()
    array[5, 1, :3] = value
    return array


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (image(shape=(16, 16)), r"2D, shape \(16, 16\); expected a 3D image"),
        (image(shape=(3, 8, 16, 16)), r"4D, shape \(3, 8, 16, 16\); expected a 3D image of one channel"),
        (image(shape=(8, 16, 3)), r"shape \(8, 16, 3\) \(z, y, x\); expected at least 4 voxels on every side"),
        (image(shape=(0, 16, 16)), "no voxels"),
        (image(complex), "values of type complex128"),
        (_with(np.nan), "3 NaN and 0 infinite voxels, the first in plane z = 5"),
        (_with(-np.inf), "0 NaN and 3 infinite voxels"),
        (np.full((8, 16, 16), 7, np.uint8), "every voxel is 7; expected an image"),
        (np.zeros((8, 16, 16), bool), "every voxel is False"),
    ],
)
def test_what_is_no_image_is_refused_by_name(array: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.tif: .*{words}"):
        check_image(array, "a.tif")


def test_the_smallest_side_is_a_parameter() -> None:
    check_image(image(), "a.tif", min_side=8)
    with pytest.raises(InputError, match="at least 9 voxels"):
        check_image(image(), "a.tif", min_side=9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int16, np.int32, np.int64])
def test_instances_of_any_integer_type_pass(balls: np.ndarray, dtype: Any) -> None:
    check_label(balls.astype(dtype), "l.tif")
    check_label(balls.astype(dtype)[None], "l.tif")


def test_one_object_alone_passes(balls: np.ndarray) -> None:
    check_label((balls == 3).astype(np.uint8), "l.tif")
    check_label((balls == 3) * 7, "l.tif")


def test_objects_that_touch_by_a_corner_count_as_one() -> None:
    label = np.zeros((4, 4, 4), np.uint8)
    label[0, 0, 0] = label[1, 1, 1] = 1
    check_label(label, "l.tif")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda label: label.astype(np.float32), "a label of type float32; expected integer ids .*whole, so save it"),
        (lambda label: label * 0.3, "a label of type float64; .*looks like an image or a map"),
        (lambda label: np.where(label == 2, -1, label.astype(np.int32)), "ids from -1 to 4; expected none below 0"),
        (lambda label: label * 0, "no object, every voxel is 0"),
        (lambda label: (label > 0).astype(np.uint8), r"one id \(1\) for 3 separate objects, a semantic mask"),
        (lambda label: (label > 0) * 255, r"one id \(255\) for 3 separate objects"),
        (lambda label: label > 0, r"one id \(1\) for 3 separate objects"),
        (lambda label: label[0], "2D, .*expected a 3D label"),
        (lambda label: np.stack([label, label]), "4D, .*expected a 3D label"),
    ],
)  # fmt: skip
def test_what_is_no_instance_label_is_refused_by_name(balls: np.ndarray, change: Any, words: str) -> None:
    with pytest.raises(InputError, match=rf"^l\.tif: .*{words}"):
        check_label(change(balls), "l.tif")


def test_maps_with_other_channels_than_the_decoder_wants_are_refused() -> None:
    check_maps(image(shape=(3, 4, 5, 6)), 3, "pred.h5")
    with pytest.raises(InputError, match=r"pred\.h5: 4 channels, shape \(4, 4, 5, 6\) .* expected 3"):
        check_maps(image(shape=(4, 4, 5, 6)), 3, "pred.h5")
    with pytest.raises(InputError, match=r"pred\.h5: 3D, shape \(4, 5, 6\); expected maps \(3, Z, Y, X\)"):
        check_maps(torch.zeros(4, 5, 6), 3, "pred.h5")


def test_checking_needs_planes_not_a_second_volume() -> None:
    volume, ids = image(shape=(64, 128, 128)), np.kron(image(np.int32, (8, 16, 16)), np.ones((8, 8, 8), np.int32))
    tracemalloc.start()
    check_image(volume, "a.tif")
    check_label(ids, "l.tif")
    check_image(MetaTensor(torch.as_tensor(volume)[None]), "a.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < volume.nbytes / 8


LOAD = LoadImaged(
    ["image", "label"], reader=VolumeReader, dtype=None, ensure_channel_first=True, allow_missing_keys=True
)


def test_the_transforms_pass_good_files_through_unchanged(tmp_path: Path, balls: np.ndarray) -> None:
    write_volume(tmp_path / "a.tif", image(shape=balls.shape))
    write_volume(tmp_path / "l.h5", balls)
    steps = Compose([LOAD, CheckImaged("image"), CheckLabeld("label", image_key="image")])
    data = steps({"image": tmp_path / "a.tif", "label": tmp_path / "l.h5"})
    np.testing.assert_array_equal(data["label"][0], balls)
    assert data["image"].meta["filename_or_obj"] == str(tmp_path / "a.tif")
    assert CheckLabeld("label", allow_missing_keys=True)({"image": 1}) == {"image": 1}
    assert CheckImaged("label", allow_missing_keys=True)({"image": 1}) == {"image": 1}


def test_the_transforms_name_the_files(tmp_path: Path, balls: np.ndarray) -> None:
    write_volume(tmp_path / "a.tif", np.ones(balls.shape, np.uint8))
    write_volume(tmp_path / "l.tif", balls[:-1])
    data = LOAD({"image": tmp_path / "a.tif", "label": tmp_path / "l.tif"})
    with pytest.raises(InputError, match=r"a\.tif: every voxel is 1"):
        CheckImaged("image")(data)
    with pytest.raises(InputError, match=r"l\.tif: shape \(15, 64, 64\) .*a\.tif has \(16, 64, 64\)"):
        CheckLabeld("label", image_key="image")(data)
    with pytest.raises(InputError, match=r"a\.tif: 4D|a\.tif: every voxel"):
        CheckImaged(["label", "image"], min_side=2)(data)
    CheckLabeld("label")(data)


def test_without_metadata_the_key_is_named() -> None:
    with pytest.raises(InputError, match=r"^label: no object"):
        CheckLabeld("label")({"label": torch.zeros(1, 4, 4, 4, dtype=torch.int32)})


def test_in_a_chain_the_message_is_the_cause(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", np.ones((8, 16, 16), np.uint8))
    with pytest.raises(RuntimeError) as caught:
        Compose([LOAD, CheckImaged("image")])({"image": tmp_path / "a.tif"})
    assert isinstance(caught.value.__cause__, InputError)


@pytest.mark.parametrize("name", ["gonuclear/1135_mini.h5", "nucexm/v4_label.tif"])
def test_real_labels_pass(shared: Path, name: str) -> None:
    path = shared / "data" / name
    if not path.is_file():
        pytest.skip(f"{name} is not among the development data")
    label = LoadImaged("label", reader=VolumeReader, dtype=None, ensure_channel_first=True, dataset="label")
    data = label({"label": path})
    CheckLabeld("label")(data)
    with pytest.raises(InputError, match="a semantic mask"):
        check_label(data["label"] > 0, name)
