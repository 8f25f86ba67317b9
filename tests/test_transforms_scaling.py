"""Change of resolution: sizes, what is averaged, what keeps its values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scripts.errors import InputError
from scripts.transforms.scaling import ScaleVolume, ScaleVolumed, checked_scale, resized, scaled_shape


@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, float("inf"), 1.0)])
def test_a_scale_is_three_factors_above_0(scale: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"expected three factors \(z, y, x\)"):
        checked_scale(scale)


def test_no_side_vanishes() -> None:
    assert scaled_shape((5, 100, 3), (1, 0.5, 0.1)) == (5, 50, 1)


def test_shrinking_averages_the_voxels_that_fall_together() -> None:
    volume = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert resized(volume, (2, 1, 1)).flatten().tolist() == [1.5, 5.5]
    assert resized(volume, (1, 1, 1)).item() == 3.5


def test_one_axis_may_shrink_while_another_grows() -> None:
    ramp = torch.arange(4.0).reshape(1, 1, 1, 1, 4).expand(1, 1, 4, 1, 4)
    result = resized(ramp, (2, 3, 8))
    assert result.shape == (1, 1, 2, 3, 8)
    torch.testing.assert_close(result[0, 0, 0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))


def test_nothing_is_copied_where_nothing_changes() -> None:
    volume = torch.zeros(1, 2, 3, 4)
    assert ScaleVolume((1, 1, 1))(volume) is volume
    assert resized(volume[None], (2, 3, 4)).data_ptr() == volume.data_ptr()


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.uint64])
def test_labels_keep_their_type_and_their_values(kind: type) -> None:
    label = np.zeros((1, 2, 6, 6), kind)
    label[0, :, :3], label[0, :, 3:] = 7, 60000
    small = ScaleVolume((1, 1 / 3, 1 / 3))(label)
    assert small.dtype == kind
    assert small[0, 0].tolist() == [[7, 7], [60000, 60000]]


def test_labels_are_picked_at_the_centre_of_what_falls_together() -> None:
    label = np.arange(9)[None, None, None]
    assert ScaleVolume((1, 1, 1 / 3))(label).ravel().tolist() == [1, 4, 7]
    assert ScaleVolume((1, 1, 2))(label[..., :2]).ravel().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_images_keep_their_type_and_meta_data(dtype: torch.dtype) -> None:
    image = MetaTensor(torch.ones(1, 4, 4, 4, dtype=dtype), meta={"filename_or_obj": "a.tif"})
    data = ScaleVolumed("image", (0.5, 1, 2))({"image": image, "other": 1})
    assert data["image"].shape == (1, 2, 4, 8)
    assert data["image"].dtype == dtype
    assert data["image"].meta["filename_or_obj"] == "a.tif"
    assert data["other"] == 1


def test_image_and_label_stay_in_register() -> None:
    rng = np.random.default_rng(0)
    label = np.kron(rng.integers(0, 2, (3, 5, 5)), np.ones((1, 4, 4), int))[None]
    data = ScaleVolumed(["image", "label"], (1, 0.5, 0.5))({"image": torch.as_tensor(label).float(), "label": label})
    assert np.array_equal(data["image"].numpy(), data["label"])


def test_a_scale_in_a_wrong_unit_is_rejected_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"scale is \[1, 1000, 1000\]; expected factors \(z, y, x\) of at most 20"):
        ScaleVolume([1, 1000, 1000])
    monkeypatch.setattr("scripts.volume_io.volume.available_bytes", lambda: 10**6)
    with pytest.raises(InputError, match=r"shape \(4, 40, 40\) becomes \(80, 800, 800\), 0\.2 GB"):
        ScaleVolume([20, 20, 20])(np.zeros((1, 4, 40, 40), np.float32))
