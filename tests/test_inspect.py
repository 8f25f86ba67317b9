"""`python -m scripts.inspect` prints how a model sees, and says what it means where a file does not tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scripts.check.overlay import configuration
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.inspect import main, readable
from scripts.plan import METADATA, Plan
from scripts.plan.file import read_plan
from scripts.plan.training import configured_keys
from scripts.volume_io import write_volume
from torch import nn

DECODER = {"_target_": "scripts.watershed.BCDWatershed", "seed_distance": 0.5}
VOLUME = {"name": "Y.tif", "shape": [9, 8, 7], "voxel_size": [2.0, 0.5, 0.5]}
PLAN = Plan(
    {"scale": [1, 0.5, 0.25], "training_voxel_size": [2.0, 0.5, 0.5], "intensity_gamma": 0.5, "decoder": DECODER},
    "0.5.0",
    {"image_y": [VOLUME, VOLUME, {**VOLUME, "voxel_size": None}], "image_y_more": 7, "stage": "CySGAN\x1b[2J"},
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    state: Any = nn.Linear(1, 1).state_dict()
    state._metadata[""][METADATA] = PLAN.to_text()
    torch.save(state, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_a_plan_is_printed_with_its_units(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    main(str(model))
    text = capsys.readouterr().out
    rows = dict(line.strip().split("  ", 1) for line in text.splitlines() if "  " in line.strip())
    values = {name: value.strip() for name, value in rows.items()}
    assert text.startswith(f"{model}: plan by version 0.5.0 of the bundle\n")
    assert values["scale"].startswith("1 x 0.5 x 0.25 (z, y, x)")
    assert values["training_voxel_size"].startswith("2 x 0.5 x 0.5 µm")
    assert values["voxels as seen"].startswith("2 x 1 x 2 µm")
    assert (values["decoder"], values["seed_distance"]) == ("BCDWatershed", "0.5")
    assert values["window"] == "the configuration's value is used, with a warning"
    assert "Y.tif, 9 x 8 x 7 voxels (z, y, x) of 2 x 0.5 x 0.5 µm; 2 such volumes" in text
    assert "Y.tif, 9 x 8 x 7 voxels (z, y, x) of unknown size\n" in text
    assert values["Y, further"] == "7"
    assert values["stage"] == "CySGAN?[2J"  # nothing that a terminal would obey


def test_columns_are_aligned_and_lines_as_wide_as_asked_for() -> None:
    lines = readable(Plan(PLAN.keys, "", {"remark": "word " * 60}), "model.pt", width=80)
    assert max(map(len, lines)) <= 80
    [remark] = [number for number, line in enumerate(lines) if line.startswith("  remark")]
    assert lines[remark].index("word") == lines[remark + 1].index("word") == lines[3].index("1 x")


def test_what_a_result_has_otherwise_is_a_section_of_its_own() -> None:
    result = PLAN.with_keys({"scale": [1, 1, 1], "decoder": {**DECODER, "seed_distance": 0.9}})
    lines = readable(result, "maps.h5")
    after = lines[lines.index("not the model's own") + 1 :][:2]
    assert ["1 x 0.5 x 0.25 (z, y, x)" in after[0], after[0].endswith(" in the model")] == [True, True]
    assert after[1].split() == ["seed_distance", "0.5", "in", "the", "model"]
    assert [line for line in lines if "as seen" in line] == [
        line for line in readable(PLAN, "model.pt") if "as seen" in line
    ]


def test_json_is_the_plan_itself(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(str(model), json="true")
    assert Plan.from_text(capsys.readouterr().out) == PLAN
    h5py.File(tmp_path / "maps.h5", "w").close()
    main(str(tmp_path / "maps.h5"), json=True)
    assert json.loads(capsys.readouterr().out) is None


def test_a_file_without_a_plan_is_told_with_what_that_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "old.pt")
    write_volume(tmp_path / "cells.tif", np.zeros((4, 4, 4), np.uint8))
    write_volume(tmp_path / "maps.zarr", np.zeros((2, 4, 4, 4), np.uint8))
    for name, words in (("old.pt", "Inference uses"), ("cells.tif", "no place"), ("maps.zarr::main", "Decoding")):
        main(str(tmp_path / name))
        text = capsys.readouterr().out
        assert text.startswith(f"{tmp_path / name}: carries no plan. ") and words in text
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        main(str(tmp_path / "none.pt"))


@pytest.mark.parametrize("value", [[1, 0, 1], "1", 1, [1, 1], ["a", "b", "c"]])
def test_a_plan_that_makes_no_sense_is_printed_as_it_is(value: Any) -> None:
    assert any(
        line.startswith("  scale") for line in readable(Plan({"scale": value, "training_voxel_size": value}), "m.pt")
    )


def test_the_shipped_model_is_seen_as_inference_sees_it_by_default() -> None:
    plan = read_plan(BUNDLE / "models" / "model.pt")
    assert plan is not None
    assert plan.keys == configured_keys(configuration("inference", [])) | {"training_voxel_size": None}
    assert plan.trained_on["iterations"] == plan.trained_on["planned_iterations"] == 1200
