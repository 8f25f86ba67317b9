"""A training writes how it sees Y, and what it was trained on, into every file of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scripts.check.overlay import configuration
from scripts.errors import InputError
from scripts.plan import FIXED, MAY_DIFFER, Plan
from scripts.plan.file import read_plan
from scripts.plan.literal import as_literal, literal
from scripts.plan.training import LISTED, agreed_voxel_size, configured_keys, training_plan

Run = Callable[..., Any]
CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"


def parser(**config: Any) -> ConfigParser:
    return ConfigParser(config)


# ---- definitions as literals -----------------------------------------------------------------------------------------
def test_references_are_followed_and_expressions_worked_out() -> None:
    config = parser(
        thickness=1,
        contour={"_target_": "scripts.representation.Contour", "dilation": "@thickness", "axes": "$(1, 2)"},
        representation={
            "_target_": "scripts.representation.Representation",
            "maps": ["@contour", {"_target_": "scripts.representation.Foreground", "_disabled_": "$True"}],
        },
        network_def={
            "_target_": "scripts.networks.SegmentationGenerator",
            "_desc_": "narrow",
            "out_channels": "$1 + @representation.channels",
            "squeeze_excitation": "true",
        },
    )
    contour = {"_target_": "scripts.representation.Contour", "dilation": 1, "axes": [1, 2]}
    assert literal(config, "representation") == {
        "_target_": "scripts.representation.Representation",
        "maps": [contour],
    }
    assert literal(config, "network_def") == {
        "_target_": "scripts.networks.SegmentationGenerator",
        "out_channels": 2,
        "squeeze_excitation": True,
    }


def test_numbers_of_arrays_become_plain_ones() -> None:
    assert as_literal((np.float32(0.5), torch.tensor(2), "TRUE", None)) == [0.5, 2, True, None]


@pytest.mark.parametrize("overlays", [(), ("published",), ("target_affinity",), ("published", "target_bc")])
def test_every_shipped_configuration_is_plain_data(overlays: tuple[str, ...]) -> None:
    files = [CONFIGS / f"{name}.yaml" for name in overlays]
    inference = configured_keys(configuration("inference", files))
    places = {"scale": "scale_y", "intensity_gamma": "intensity_gamma_y"}
    assert configured_keys(configuration("train", files), places) == inference
    assert {*FIXED, *MAY_DIFFER} - {*inference} == {"training_voxel_size"}
    assert Plan.from_text(Plan(inference).to_text()) == Plan(inference)
    assert "checkpoint_activations" not in inference["network_def"]


def test_a_transform_of_y_without_the_value_leaves_it_out(caplog: pytest.LogCaptureFixture) -> None:
    config = parser(scale=[1, 1, 1], resize_y={"_target_": "Identityd", "keys": "image"})
    assert configured_keys(config, {"scale": "resize_y::scale"}) == {"flips": 1}
    assert "found no resize_y::scale" in caplog.text and "The model's plan has no scale" in caplog.text


def test_a_class_of_another_package_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    config = parser(window=[16, 32, 32], network_def={"_target_": "torch.nn.Conv3d", "in_channels": 1})
    assert configured_keys(config) == {"flips": 1, "window": [16, 32, 32]}
    assert "found 'torch.nn.Conv3d', expected plain values" in caplog.text
    assert "The model's plan has no network_def" in caplog.text


# ---- the volumes -----------------------------------------------------------------------------------------------------
def test_voxel_sizes_within_2_percent_are_one(caplog: pytest.LogCaptureFixture) -> None:
    assert agreed_voxel_size([(2, 1, 1), (2.03, 1, 0.99)]) == [2, 1, 1]
    assert not caplog.records
    assert agreed_voxel_size([(2, 1, 1), (2.05, 1, 1)]) is None
    assert "(z, y, x in µm): 2x1x1, 2.05x1x1" in caplog.text
    assert agreed_voxel_size([(2, 1, 1), None]) is None
    assert "2x1x1, unknown" in caplog.text


def test_a_plan_names_volumes_without_their_folders_and_not_all_of_very_many() -> None:
    meta = {"filename_or_obj": "secret/cells.h5::raw", "voxel_size": np.full(3, np.nan), "spatial_shape": [9, 8, 7]}
    volume = {"image": MetaTensor(torch.zeros(1, 4, 4, 4), meta=meta)}
    plan = training_plan([volume] * (LISTED + 3), [{"image": np.zeros((1, 5, 6, 7))}])
    assert plan.trained_on["image_x"][0] == {"name": "cells.h5::raw", "shape": [9, 8, 7], "voxel_size": None}
    assert len(plan.trained_on["image_x"]) == LISTED and plan.trained_on["image_x_more"] == 3
    assert plan.trained_on["image_y"] == [{"name": "", "shape": [5, 6, 7], "voxel_size": None}]
    assert plan.voxel_size is None and "secret" not in plan.to_text()


def test_a_voxel_size_that_is_given_is_kept_instead_of_that_of_the_files() -> None:
    volume = {"image": MetaTensor(torch.zeros(1, 4, 4, 4), meta={"voxel_size": (1.0, 1.0, 1.0)})}
    found = [training_plan([volume], [volume], size).voxel_size for size in (None, (2, 0.5, 0.5), "unknown")]
    assert found == [(1, 1, 1), (2, 0.5, 0.5), None]
    with pytest.raises(InputError, match=r"found voxel_size \[1\], expected three sizes"):
        training_plan([volume], [volume], [1])


# ---- a training ------------------------------------------------------------------------------------------------------
def trained_on(path: Path, *names: str) -> list[Any]:
    plan = read_plan(path)
    assert plan is not None
    return [plan.trained_on[name] for name in names]


def test_a_training_writes_its_plan_into_all_weights(run_here: Run, volumes: Path, tmp_path: Path) -> None:
    run_here(
        "training",
        "train",
        image_x=str(volumes / "imageX_*.tif"),
        label_x=str(volumes / "labelX_*.tif"),
        image_y=volumes / "storeY.ome.zarr",
        output_dir=tmp_path,
        model_path=tmp_path / "model.pt",
        scale_y=[1.0, 0.9, 1.0],
        intensity_percentiles_y=[1, 99],
        intensity_gamma_y=0.7,
        best_checkpoint="x_ap50",
        seed=3,
    )
    plan = read_plan(tmp_path / "model.pt")
    assert plan is not None
    expected = {"scale": [1.0, 0.9, 1.0], "intensity_percentiles": [1, 99], "intensity_gamma": 0.7, "flips": 1}
    assert {name: plan.keys[name] for name in expected} == expected
    assert plan.keys["training_voxel_size"] == pytest.approx([2.0, 1.0, 0.5])
    assert plan.keys["network_def"]["filters"] == [8, 16] and plan.keys["network_def"]["out_channels"] == 4
    assert plan.keys["representation"]["maps"][1]["axes"] == [1, 2]
    assert {*plan.keys} == {*FIXED, *MAY_DIFFER} and plan.changed == {}
    assert [one["name"] for one in plan.trained_on["image_x"]] == ["imageX_0.tif", "imageX_1.tif"]
    assert [one["name"] for one in plan.trained_on["image_y"]] == ["storeY.ome.zarr"]
    assert plan.trained_on["image_x"][0]["shape"] == [32, 64, 64]
    facts = ("stage", "iterations", "planned_iterations", "warm_up_iterations", "seed", "method")
    assert trained_on(tmp_path / "model.pt", *facts) == ["CySGAN", 4, 4, 2, 3, "CySGANTrainer"]
    assert trained_on(tmp_path / "source_only.pt", *facts[:3]) == ["source only", 2, 4]
    assert trained_on(tmp_path / "checkpoint_0000004.pt", *facts[:2]) == ["CySGAN", 4]
    assert trained_on(tmp_path / "best.pt", "planned_iterations") == [4]


BASELINES = {
    "baseline_two_step": "translated X",
    "baseline_mean_teacher": "mean teacher",
    "baseline_source_only": "source only",
    "baseline_histogram": "source only",
    "oracle": "source only",
}


@pytest.mark.parametrize(
    "overlay",
    [
        pytest.param(name, marks=() if name in ("baseline_two_step", "oracle") else pytest.mark.long)
        for name in BASELINES
    ],
)
def test_every_baseline_says_how_y_is_seen(overlay: str, run_here: Run, volumes: Path, tmp_path: Path) -> None:
    run_here(
        "training",
        "train",
        overlay,
        image_x=volumes / "imageX_0.tif",
        label_x=volumes / "labelX_0.tif",
        image_y=volumes / "imageY.tif",
        label_y=volumes / "labelY.tif",
        output_dir=tmp_path,
        model_path=tmp_path / "model.pt",
        intensity_percentiles_y=[1, 99],
        max_iterations=2,
        warm_up_iterations=1 if overlay == "baseline_two_step" else "@iterations",
        validation_interval=100,
    )
    plan = read_plan(tmp_path / "model.pt")
    assert plan is not None and plan.keys["intensity_percentiles"] == [1, 99]
    assert plan.trained_on["stage"] == BASELINES[overlay] and plan.trained_on["iterations"] == 2
