"""The classical recipe on phantoms, and on the development volumes where they are present."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from scipy import ndimage as ndi
from scripts.classical import classical_foreground, classical_instances, segment_file
from scripts.metrics import match_instances
from scripts.volume_io import read_volume, write_volume


@pytest.fixture
def image(balls: np.ndarray) -> np.ndarray:
    """The phantom as a bright, slightly blurred and noisy volume."""
    rng = np.random.default_rng(0)
    sharp = ndi.gaussian_filter((balls > 0) * 150.0, (0.4, 0.8, 0.8))
    return np.clip(20 + sharp + rng.normal(0, 5, balls.shape), 0, 255).astype(np.uint8)


def test_touching_balls_come_apart(image: np.ndarray, balls: np.ndarray) -> None:
    matched = match_instances(balls, classical_instances(image), 0.5)
    assert (matched.true_positives, matched.false_positives, matched.false_negatives) == (4, 0, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_type_of_the_image_does_not_matter(image: np.ndarray, dtype: str) -> None:
    np.testing.assert_array_equal(classical_instances(image.astype(dtype)), classical_instances(image))


def test_scale_and_offset_of_the_tones_do_not_matter(image: np.ndarray) -> None:
    np.testing.assert_array_equal(classical_foreground(image * 4.0 + 512), classical_foreground(image))


def test_a_constant_image_holds_nothing() -> None:
    instances = classical_instances(np.full((8, 16, 16), 7, np.uint8))
    assert instances.dtype == np.int32
    assert not instances.any()


def test_opening_removes_fibres(image: np.ndarray) -> None:
    image = image.copy()
    image[4:6, 30:32, :] = 255
    fibre = (slice(4, 6), slice(30, 32), slice(36, 60))
    assert classical_foreground(image, opening=0)[fibre].mean() > 0.5
    assert not classical_foreground(image, opening=2.5)[fibre].any()


def test_background_subtraction_levels_uneven_light(image: np.ndarray, balls: np.ndarray) -> None:
    uneven = image + np.linspace(0, 400, image.shape[2])
    right = [(classical_foreground(uneven, background=b) == (balls > 0)).mean() for b in (0, 12)]
    assert right[0] < 0.7
    assert right[1] > 0.9


def test_only_the_ratios_of_the_spacing_count(image: np.ndarray) -> None:
    np.testing.assert_array_equal(classical_instances(image, (0.5, 0.25, 0.25)), classical_instances(image, (2, 1, 1)))


def test_small_instances_are_dropped(image: np.ndarray) -> None:
    sizes = np.bincount(classical_instances(image).ravel())[1:]
    largest = int(sizes.max())
    assert len(np.unique(classical_instances(image, min_instance_size=largest))) == 2
    assert not classical_instances(image, min_instance_size=largest + 1).any()


def test_the_command_reads_and_writes_files(tmp_path: Path, image: np.ndarray) -> None:
    write_volume(tmp_path / "y.tif", image, voxel_size=(0.5, 0.25, 0.25))
    segment_file(tmp_path / "y.tif", tmp_path / "inst.tif", spacing=(2, 1, 1))
    stored, voxel_size = read_volume(tmp_path / "inst.tif")
    np.testing.assert_array_equal(stored, classical_instances(image))
    assert voxel_size == pytest.approx((0.5, 0.25, 0.25))


def test_lines_to_beat_on_real_nuclei(shared: Path) -> None:
    with h5py.File(shared / "data" / "gonuclear" / "1135_mini.h5") as file:
        image, label = file["raw"][:], file["label"][:]
    assert match_instances(label, classical_instances(image), 0.5).ap > 0.35


def test_line_to_beat_on_expanded_nuclei(shared: Path) -> None:
    crop = (slice(48, 80), slice(64, 192), slice(64, 192))
    image = tifffile.imread(shared / "data" / "nucexm" / "v4_image.tif")[crop]
    label = tifffile.imread(shared / "data" / "nucexm" / "v4_label.tif")[crop]
    assert match_instances(label, classical_instances(image), 0.5).ap > 0.55
