"""A training that starts from weights of other maps or of another network is one line before any volume is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts.check import check_config
from scripts.check.overlay import configuration
from scripts.plan import METADATA, Plan
from scripts.plan.training import configured_keys
from torch import nn

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"


def model(path: Path, plan: Plan | None = None, map_names: list[str] | None = None) -> Path:
    state: Any = nn.Linear(1, 1).state_dict()
    state._metadata[""] |= {METADATA: plan.to_text()} if plan else {}
    state._metadata[""] |= {"map_names": map_names} if map_names else {}
    torch.save(state, path)
    return path


def problems(start_from: Path, *overlays: str, **overrides: Any) -> list[str]:
    files = [CONFIGS / f"{name}.yaml" for name in ("train", *overlays)]
    found = check_config(files, {"start_from": str(start_from), **overrides}, "training", volumes=False)
    return list(map(str, found.problems))


def plan_of(*overlays: str) -> Plan:
    return Plan(configured_keys(configuration("inference", [CONFIGS / f"{name}.yaml" for name in overlays])))


@pytest.mark.parametrize(
    ("trained", "training", "words"),
    [
        ("", "target_bc", r"representation::maps: found 'Foreground, Contour', expected '.*, SignedDistance', with"),
        (
            "target_bc",
            "",
            r"train.yaml:\d+: representation::maps: found '.*, SignedDistance', expected 'Foreground, Co",
        ),
        ("target_affinity", "", r"representation::maps: found '.*, SignedDistance', expected 'Affinity'"),
        ("tile_independent", "", r"network_def::norm: found \['group', .*\], expected 'channel'"),
        ("", "published", r"published.yaml:\d+: network_def::filters: found \[32, 64"),
    ],
)
def test_other_maps_and_another_network_are_named(trained: str, training: str, words: str, tmp_path: Path) -> None:
    path = model(tmp_path / "model.pt", plan_of(*filter(None, [trained])))
    found = problems(path, *filter(None, [training]))
    assert found and f"with which {path} was trained. Give the overlays" in found[0]
    assert any(re.search(words, line) for line in found), found


def test_what_a_network_can_learn_anew_is_no_contradiction(tmp_path: Path) -> None:
    path = model(tmp_path / "model.pt", plan_of())
    assert problems(path) == []
    assert problems(path, contour_dilation=1, scale_y=[1, 1, 1], intensity_gamma_y=1.0, window=[16, 64, 64]) == []
    assert problems(path, **{"network_def::checkpoint_activations": True}) == []
    assert problems(model(tmp_path / "converted.pt", Plan({})), "target_bc") == []


def test_maps_that_an_older_file_names_are_compared(tmp_path: Path) -> None:
    path = model(tmp_path / "old.pt", map_names=["foreground", "contour"])
    [line] = problems(path)
    assert f"{path}: was trained for the maps foreground, contour, expected foreground, contour, distance" in line
    assert problems(path, "target_bc") == []
    assert problems(model(tmp_path / "plain.pt")) == []


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("no weights")
    [line] = problems(tmp_path / "model.pt")
    assert "model.pt: found no readable weights" in line
    newer = model(tmp_path / "newer.pt", Plan({}))
    state = torch.load(newer, weights_only=True)
    state._metadata[""][METADATA] = '{"format": 9, "version": "2.0"}'
    torch.save(state, newer)
    [line] = problems(newer)
    assert "newer.pt: found a plan of format 9, written by version 2.0" in line


def test_a_refinement_needs_y_as_the_model_knows_it(tmp_path: Path) -> None:
    path = model(tmp_path / "model.pt", plan_of())
    assert problems(path, "refine") == []
    lines = problems(path, "refine", scale_y=[1, 1, 1], intensity_gamma_y=1.0)
    assert [line.split(" with which")[0] for line in lines] == [
        "command line: scale_y: found [1, 1, 1], expected [1.0, 0.5, 0.5],",
        "command line: intensity_gamma_y: found 1.0, expected 0.5,",
    ]
