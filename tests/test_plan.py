"""A plan is plain data that goes with a model, and that no file can turn into a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.plan.file import METADATA, read_plan
from torch import nn

KEYS: dict[str, Any] = {
    "scale": [1.0, 0.5, 0.5],
    "flips": 1,
    "decoder": {"_target_": "scripts.watershed.BCDWatershed", "seed_distance": 0.6},
}


def test_a_plan_is_the_same_after_text() -> None:
    plan = Plan(KEYS, "0.5.0", {"image_y": ["a@b.tif"], "iterations": 3000})
    assert Plan.from_text(plan.to_text()) == plan


def test_a_result_keeps_what_the_model_had_otherwise() -> None:
    plan = Plan(KEYS).with_keys({"flips": 4, "scale": [1.0, 0.5, 0.5]})
    assert plan.keys["flips"] == 4 and plan.changed == {"flips": 1}
    assert plan.with_keys({"flips": 8}).changed == {"flips": 1}
    assert plan.with_keys({"flips": 1}) == Plan(KEYS)  # back to the model's own


@pytest.mark.parametrize(
    "value",
    [
        "$__import__('os').system('true')",
        "@network_def",
        "%other.yaml::key",
        {"_target_": "os.system", "command": "true"},
        {"_target_": "scripts.watershed.decode.partial"},
        {"_target_": "scripts.watershed.BCDWatershed", "_mode_": "callable"},
        {"_target_": "scripts.watershed.BCDWatershed", "seed_distance": ["$1"]},
        {"_target_": "scripts.watershed.OfALaterVersion"},
        {"_target_": ""},
        {"_target_": None},
    ],
)
def test_a_plan_of_a_stranger_runs_nothing(value: Any) -> None:
    text = json.dumps({"format": 1, "version": "9", "keys": {"decoder": value}, "trained_on": {}, "changed": {}})
    with pytest.raises(InputError, match=r"model.pt: plan: found .*expected plain values"):
        Plan.from_text(text, "model.pt")


@pytest.mark.parametrize("key", ["representation", "network_def", "decoder"])
@pytest.mark.parametrize("value", [None, 5, [], {}, {"_target_": "scripts.networks.ChannelNorm"}])
def test_a_definition_is_of_a_class_of_its_room(key: str, value: Any) -> None:
    if key == "network_def" and value and value != 5:
        value = {"_target_": "scripts.representation.Foreground"}
    text = json.dumps({"format": 1, "version": "0.5.0", "keys": {key: value}, "trained_on": {}, "changed": {}})
    with pytest.raises(
        InputError, match=rf"m.pt: plan: found {key} .*, expected a class of scripts.*\. Version 0.5.0 of"
    ):
        Plan.from_text(text, "m.pt")


def test_a_plan_of_a_newer_version_is_rejected() -> None:
    text = json.dumps({"format": 2, "version": "0.9.0", "something": "else"})
    with pytest.raises(InputError, match=r"model.pt: found a plan of format 2, written by version 0.9.0"):
        Plan.from_text(text, "model.pt")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"format": "x"}', '{"format": 1e999}', '{"format": 1, "keys": 3}', "[" * 100_000),
        # read by JSON, and too deep for what prints it
        f'{{"format": 1, "keys": {{}}, "changed": {{}}, "trained_on": {{"a": {"[" * 300}{"]" * 300}}}}}',
    ],
)
def test_what_is_no_plan_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"model.pt: found a plan that cannot be read"):
        Plan.from_text(text, "model.pt")


def test_a_file_of_weights_carries_its_plan(tmp_path: Path) -> None:
    state: Any = nn.Linear(1, 1).state_dict()
    torch.save(state, tmp_path / "plain.pt")
    assert read_plan(tmp_path / "plain.pt") is None
    state._metadata[""][METADATA] = Plan(KEYS).to_text()
    torch.save(state, tmp_path / "model.pt")
    assert read_plan(tmp_path / "model.pt") == Plan(KEYS)


def test_what_is_no_file_of_weights_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: no such file. Expected the weights"):
        read_plan(tmp_path / "none.pt")
    (tmp_path / "notes.txt").write_text("seed 0")
    with pytest.raises(InputError, match=r"notes\.txt: found no readable weights"):
        read_plan(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="found no readable weights"):
        read_plan(tmp_path)
    torch.save([1, 2], tmp_path / "list.pt")
    assert read_plan(tmp_path / "list.pt") is None
    state: Any = nn.Linear(1, 1).state_dict()
    state._metadata = ["no", "mapping"]
    torch.save(state, tmp_path / "odd.pt")
    assert read_plan(tmp_path / "odd.pt") is None
