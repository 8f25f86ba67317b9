"""The transforms around representation and decoder keep shapes, types and meta data."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scripts.errors import InputError
from scripts.representation import Contour, Foreground, Representation, SignedDistance
from scripts.transforms import DecodeInstances, DecodeInstancesd, EncodeTargets, EncodeTargetsd
from scripts.watershed import BCDWatershed

MAPS = Representation([Foreground(), Contour(), SignedDistance()])


@pytest.fixture
def label(balls: np.ndarray) -> MetaTensor:
    affine = torch.diag(torch.tensor([2.0, 1, 1, 1], dtype=torch.float64))
    return MetaTensor(
        torch.from_numpy(balls.astype(np.float32))[None], affine=affine, meta={"filename_or_obj": "a.tif"}
    )


def ids(maps: np.ndarray) -> np.ndarray:
    """A decoder that numbers the voxels of the foreground."""
    return np.cumsum(maps[0] > 0.5).reshape(maps.shape[1:]) * (maps[0] > 0.5)


def test_encoded_targets_keep_meta_data(label: MetaTensor, balls: np.ndarray) -> None:
    maps = EncodeTargets(MAPS)(label)
    assert isinstance(maps, MetaTensor)
    assert (maps.dtype, tuple(maps.shape)) == (torch.float32, (3, *balls.shape))
    assert maps.meta["filename_or_obj"] == "a.tif"
    assert torch.equal(maps.affine, label.affine)
    np.testing.assert_array_equal(maps.numpy(), MAPS.encode(balls))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.int64, torch.float32])
def test_tensors_of_any_type_are_encoded_alike(balls: np.ndarray, dtype: torch.dtype) -> None:
    maps = EncodeTargets(MAPS)(torch.from_numpy(balls.astype(np.int64))[None].to(dtype))
    np.testing.assert_array_equal(np.asarray(maps), MAPS.encode(balls))


def test_arrays_stay_arrays(balls: np.ndarray) -> None:
    assert isinstance(EncodeTargets(MAPS)(balls[None]), np.ndarray)
    assert isinstance(DecodeInstances(ids)(MAPS.encode(balls)), np.ndarray)


def test_fractions_and_channels_are_refused(label: MetaTensor) -> None:
    with pytest.raises(InputError, match="fractions"):
        EncodeTargets(MAPS)(label / 2)
    with pytest.raises(InputError, match="expected \\(1, Z, Y, X\\)"):
        EncodeTargets(MAPS)(label[0])
    with pytest.raises(InputError, match="expected \\(1, Z, Y, X\\)"):
        EncodeTargets(MAPS)(torch.zeros(2, 4, 4, 4))


def test_the_dictionary_form_adds_maps_beside_the_label(label: MetaTensor) -> None:
    sample: dict[Hashable, Any] = {"label_x": label, "other": 1}
    result = EncodeTargetsd("label_x", "maps_x", MAPS)(sample)
    assert set(result) == {"label_x", "other", "maps_x"}
    assert set(sample) == {"label_x", "other"}
    assert result["maps_x"].shape[0] == 3


def test_missing_keys_are_passed_over_on_request(label: MetaTensor) -> None:
    encode = EncodeTargetsd(["label_x", "label_y"], ["maps_x", "maps_y"], MAPS, allow_missing_keys=True)
    assert set(encode({"label_x": label})) == {"label_x", "maps_x"}
    with pytest.raises(KeyError):
        EncodeTargetsd("label_y", "maps_y", MAPS)({"label_x": label})


def test_decoded_instances_keep_meta_data(label: MetaTensor, balls: np.ndarray) -> None:
    maps = EncodeTargets(MAPS)(label)
    result = DecodeInstancesd("pred", "instances", ids)({"pred": maps})["instances"]
    assert isinstance(result, MetaTensor)
    assert (result.dtype, tuple(result.shape)) == (torch.int32, (1, *balls.shape))
    assert result.meta["filename_or_obj"] == "a.tif"
    np.testing.assert_array_equal(result[0].numpy() > 0, balls > 0)


def test_ids_beyond_int32_become_int64() -> None:
    decode = DecodeInstances(lambda maps: np.full(maps.shape[1:], 2**40, np.uint64))
    result = decode(torch.zeros(3, 2, 2, 2))
    assert result.dtype == torch.int64
    assert result.max().item() == 2**40


def test_progress_reports_the_stages_of_the_decoder(capfd: pytest.CaptureFixture[str]) -> None:
    maps = np.zeros((3, 4, 8, 8), np.uint8)
    DecodeInstancesd("maps", "instances", BCDWatershed(), progress=True)({"maps": maps})
    assert "6/6" in capfd.readouterr().err
