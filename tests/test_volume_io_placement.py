"""Labels on the grid of their image, whatever order and direction their file stores them in."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scripts.check import check_config
from scripts.check.run import check_inference
from scripts.check.transform import CheckLabeld
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.volume_io import VolumeReader, open_label, open_volume, read_label, write_volume

TRAIN = [BUNDLE / "configs" / "train.yaml"]
SHAPE = (12, 10, 7)  # x, y, z
SPACING = (0.2, 0.25, 0.5)
ORIENTATIONS = [
    np.array(list(zip(axes, signs, strict=True)), float)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def affine_of(angle: float = 0.0, origin: tuple[float, ...] = (-3.0, 4.0, 5.0)) -> np.ndarray:
    """An affine of NIfTI, as ITK writes it (x and y run to the left and to the back), turned about z."""
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-SPACING[0], -SPACING[1], SPACING[2]])
    affine[:3, 3] = origin
    return affine


def save(path: Path, array: np.ndarray, affine: np.ndarray, unit: str = "micron", codes: int = 1) -> Path:
    image: Any = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code=codes)
    image.set_qform(affine, code=codes)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def label_of() -> np.ndarray:
    """Two boxes, none of which a flip or a turn moves onto itself; (X, Y, Z)."""
    label = np.zeros(SHAPE, np.int16)
    label[1:5, 2:5, 1:3], label[6:11, 5:9, 2:6] = 1, 2
    return label


def grey_of() -> np.ndarray:
    return (np.random.default_rng(0).normal(50, 5, SHAPE) + 100 * (label_of() > 0)).astype(np.float32)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "image.nii.gz", grey_of(), affine_of(0.3))


def test_a_label_stored_in_any_order_and_direction_comes_to_its_image(image: Path, tmp_path: Path) -> None:
    label = label_of()
    for number, orientation in enumerate(ORIENTATIONS):
        stored = np.ascontiguousarray(apply_orientation(label, orientation))
        affine = affine_of(0.3) @ inv_ornt_aff(orientation, SHAPE)
        path = save(tmp_path / f"{number}.nii", stored, affine)
        np.testing.assert_array_equal(read_label(path, image), label.T)
        opened = open_label(path, open_volume(image))
        assert opened.shape == label.T.shape
        assert opened.voxel_size == pytest.approx(SPACING[::-1])
        np.testing.assert_array_equal(opened[1:6, 3:, :4], label.T[1:6, 3:, :4])


def test_every_command_turns_it(image: Path, tmp_path: Path) -> None:
    mirrored = affine_of(0.3) @ inv_ornt_aff([[0, -1], [1, 1], [2, 1]], SHAPE)
    path = save(tmp_path / "label.nii.gz", label_of()[::-1], mirrored)
    files = {"image": str(image), "label": str(path)}
    load = LoadImaged(["image", "label"], reader=VolumeReader, dtype=None, ensure_channel_first=True)
    data = Compose([load, CheckLabeld("label", image_key="image")])(files)
    np.testing.assert_array_equal(data["label"][0], label_of().T)
    np.testing.assert_allclose(data["label"].affine, data["image"].affine)
    assert data["label"].meta["filename_or_obj"] == str(path)
    check_inference(str(image), str(tmp_path / "out"), label=str(path))
    found = check_config(TRAIN, {"image_y": str(image), "label_y": str(path)}).problems
    assert not any("label.nii.gz" in str(problem) for problem in found)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (affine_of(0.35), r"turned by 20\.1 degrees.*turned by 17\.2 degrees"),
        (affine_of(0.3, (-3.0, 4.0, 5.5)), r"origin \(-3, 4, 5\.5\).*origin \(-3, 4, 5\)"),
        (affine_of(0.3) @ np.diag([1.1, 1.1, 1.1, 1]), r"of 0\.22 x 0\.275 x 0\.55.*of 0\.2 x 0\.25 x 0\.5"),
        (np.eye(4), r"axes RAS, origin \(0, 0, 0\).*axes LPS \(turned"),
        (affine_of(0.3) @ np.diag([-1, 1, 1, 1]), r"axes RPS.*axes LPS"),
    ],
    ids=["turned", "shifted", "larger", "identity", "mirrored elsewhere"],
)
def test_a_label_that_lies_elsewhere_is_rejected_with_both_places(
    image: Path, tmp_path: Path, affine: np.ndarray, words: str
) -> None:
    path = save(tmp_path / "label.nii", label_of(), affine)
    with pytest.raises(InputError, match=rf"label\.nii: lies elsewhere than its image\. Found .*{words}.*Resample"):
        read_label(path, image)
    found = check_config(TRAIN, {"image_y": str(image), "label_y": str(path)}).problems
    assert any("lies elsewhere" in str(problem) for problem in found)


@pytest.mark.parametrize(
    ("affine", "unit", "codes"),
    [
        (affine_of(0.3, (-3.02, 4.0, 5.0)), "micron", 1),
        (affine_of(0.3) @ np.diag([1.005, 1.005, 1.0, 1]), "micron", 1),
        (affine_of(0.3), "unknown", 2),
        (affine_of(0.3), "mm", 1),
        (np.diag([1e-3, 1e-3, 1e-3, 1]) @ affine_of(0.3), "mm", 1),
        (np.diag([*SPACING, 1]), "micron", 0),
    ],
    ids=["a tenth of a voxel", "rounded", "no unit", "another unit", "in mm", "no place"],
)
def test_what_programs_round_or_leave_out_makes_no_difference(
    image: Path, tmp_path: Path, affine: np.ndarray, unit: str, codes: int
) -> None:
    path = save(tmp_path / "label.nii", label_of(), affine, unit, codes)
    np.testing.assert_array_equal(read_label(path, image), label_of().T)


def test_without_a_place_shapes_and_voxel_sizes_have_to_agree(
    image: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label, sizes = label_of().T, {"close": (0.505, 0.25, 0.2), "one": (1, 1, 1), "far": (0.5, 0.25, 0.25), "none": None}
    paths = {name: tmp_path / f"{name}.tif" for name in sizes}
    for name, size in sizes.items():
        write_volume(paths[name], label, size)
    for name in ("close", "none"):
        np.testing.assert_array_equal(read_label(paths[name], image), label)
    assert not caplog.messages
    read_label(paths["one"], image)
    assert "voxels of 1 x 1 x 1 µm (z, y, x), but its image" in caplog.text
    with pytest.raises(InputError, match=r"far\.tif: voxels of 0\.5 x 0\.25 x 0\.25 µm .* has 0\.5 x 0\.25 x 0\.2 µm"):
        read_label(paths["far"], image)
    write_volume(tmp_path / "short.tif", label[1:])
    with pytest.raises(InputError, match=r"short\.tif: shape \(6, 10, 12\) .*image\.nii\.gz has \(7, 10, 12\)"):
        read_label(tmp_path / "short.tif", image)
