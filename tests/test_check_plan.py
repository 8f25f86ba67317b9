"""The plan of a model in a configuration: it replaces the base, what contradicts it is one line, and a run gets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from scripts.check import Findings, check_config
from scripts.check.overlay import configuration
from scripts.check.plan import used_plan
from scripts.checkpoint.weights import noted_state
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.plan.file import read_plan
from scripts.plan.training import configured_keys
from scripts.volume_io import read_maps, write_volume
from torch import nn

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
Model = Callable[..., Path]
BCD = "scripts.watershed.BCDWatershed"
HERS = "overlay_on: [train, inference]\nscale_y: [1, 1, 1]\nscale: [1.0, 1.0, 1.0]\nintensity_gamma: 1.0\n"


def config(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


@pytest.fixture
def match(tmp_path: Path) -> Path:
    """An overlay of match_domains: another scale and exponent than the base has."""
    path = tmp_path / "match.yaml"
    path.write_text(HERS)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Write a model with the plan of inference.yaml and overlays; its weights are not looked at here."""

    def write(*overlays: Path, **keys: Any) -> Path:
        plan = Plan({**configured_keys(configuration("inference", overlays)), **keys}, "0.5.0")
        torch.save(noted_state(nn.Conv3d(1, 4, 1), (), plan), tmp_path / "model.pt")
        return tmp_path / "model.pt"

    return write


def found(
    model: Path, overlays: Sequence[Path] = (), base: Path = CONFIGS / "inference.yaml", **given: Any
) -> Findings:
    return check_config([base, *overlays], {**given, "model_path": str(model)}, volumes=False)


def problems(model: Path, overlays: Sequence[Path] = (), **given: Any) -> list[str]:
    return [str(problem) for problem in found(model, overlays, **given).problems]


@pytest.mark.parametrize(
    "names", [(), ("published",), ("target_bc",), ("target_affinity",), ("tile_independent", "published"), ("match",)]
)
def test_a_model_needs_no_overlay_and_may_be_given_its_own(names: Sequence[str], model: Model, match: Path) -> None:
    overlays = [match if name == "match" else config(name) for name in names]
    path = model(*overlays)
    for given in ([], overlays):
        checked = found(path, given)
        assert checked.problems == []
        parser, wanted = configuration("inference", given, plan=read_plan(path)), configuration("inference", overlays)
        assert configured_keys(parser) == configured_keys(wanted)
        assert checked.settings.items() >= {"scale": wanted["scale"], "window": wanted["window"]}.items()
    assert problems(path, [config("exported")]) == []
    assert problems(path, [config("evaluate"), config("multi_gpu_inference")]) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"contour_dilation": 1}, "command line: contour_dilation: found 1, expected 0, with which"),
        ({"intensity_gamma": 1}, "command line: intensity_gamma: found 1, expected 0.5,"),
        ({"network_def#norm": "channel"}, "network_def::norm: found 'channel', expected ['group', {'num_groups': 8}],"),
        ({"window_padding": 5}, "window_padding: found 5, expected [4, 8, 8]"),
        ({"spacing": [2, 1, 1]}, "spacing: found [2, 1, 1], expected [1.0, 1.0, 1.0]"),
        ({"training_voxel_size": [1, 1, 1]}, "training_voxel_size: found [1, 1, 1], expected [1.0, 0.5, 0.5]"),
    ],
)
def test_what_contradicts_the_plan_is_one_line_with_both_values(
    given: dict[str, Any], words: str, model: Model, match: Path
) -> None:
    path = model(training_voxel_size=[1.0, 0.5, 0.5])
    [problem] = problems(path, **given)
    assert words in problem and str(path) in problem
    key, value = next(iter(given.items()))
    match.write_text(f"overlay_on: inference\n{key}: {json.dumps(value)}\n")
    [problem] = problems(path, [match])
    assert problem.startswith(f"{match}:2: ")
    with pytest.raises(InputError, match=r"found .*, expected .*, with which"):
        configuration("inference", [match], plan=read_plan(path), model=path)


def test_a_model_for_another_target_is_one_line(model: Model) -> None:
    [problem] = problems(model(), [config("target_bc")])
    assert "target_bc.yaml:4: representation::maps: found 'Foreground, Contour', expected 'Foreground, Con" in problem
    [problem] = problems(model(config("target_affinity")), [config("target_bc")])
    assert "expected 'Affinity'" in problem


def test_a_base_that_was_edited_contradicts_as_an_overlay_does(model: Model, tmp_path: Path) -> None:
    edited = tmp_path / "mine.yaml"
    edited.write_text(config("inference").read_text().replace("intensity_gamma: 0.5", "intensity_gamma: 0.7"))
    [problem] = problems(model(), base=edited)
    assert "mine.yaml:" in problem and "intensity_gamma: found 0.7, expected 0.5" in problem


def test_thresholds_overlap_and_flips_may_differ_and_are_noted(model: Model) -> None:
    checked = found(model(), seed_distance=0.5, flips=4, overlap=0.25)
    assert checked.problems == []
    plan = Plan.from_text(checked.settings["plan"])
    assert (plan.keys["decoder"]["seed_distance"], plan.keys["flips"], plan.keys["overlap"]) == (0.5, 4, 0.25)
    assert plan.changed["decoder"]["seed_distance"] == 0.6 and plan.changed["flips"] == 1
    [problem] = problems(model(config("target_bc")), seed_distance=0.5)
    assert "seed_distance: found a key without effect" in problem


def test_a_scale_that_is_given_overrides_and_is_reported(
    model: Model, match: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = model(training_voxel_size=[1.0, 0.5, 0.5])
    for given in ({"overlays": [match]}, {"scale": [1.0, 1.0, 1.0]}, {"scale": [1.0, 0.5, 0.5]}):
        match.write_text("overlay_on: inference\nscale: [1.0, 1.0, 1.0]\n")
        checked = found(path, **given)
        assert checked.problems == [] and checked.settings["training_voxel_size"] is None
        assert " is used (" in caplog.text and f"the plan of {path} has [1.0, 0.5, 0.5]" in caplog.text
        caplog.clear()
    match.write_text("overlay_on: inference\nscale: [1.0, 0.5, 0.5]\n")
    assert found(path, [match]).settings["training_voxel_size"] == [1.0, 0.5, 0.5]
    assert not caplog.text


def test_a_model_without_a_plan_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(nn.Conv3d(1, 4, 1).state_dict(), tmp_path / "model.pt")
    checked = found(tmp_path / "model.pt", [config("target_bc")], flips=2)
    assert checked.problems == [] and set(checked.settings) == {"plan"}
    assert len(caplog.messages) == 1 and "carries no plan of how Y was seen; the configuration's" in caplog.text
    plan = Plan.from_text(checked.settings["plan"])
    assert plan.keys["flips"] == 2 and plan.keys["decoder"]["_target_"] == "scripts.watershed.BCWatershed"


def test_a_plan_that_lacks_keys_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(noted_state(nn.Conv3d(1, 4, 1), (), Plan({"scale": [1, 1, 1]})), tmp_path / "model.pt")
    assert problems(tmp_path / "model.pt", intensity_gamma=1.0) == []
    assert (
        "its plan lacks training_voxel_size, intensity_percentiles, intensity_gamma, representation, network_def"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"format": 9, "version": "7.0"}', "format 9, written by version 7.0"), ("{", "cannot be read")],
)
def test_a_plan_that_cannot_be_used_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    state = nn.Conv3d(1, 4, 1).state_dict()
    state._metadata[""]["plan"] = text  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "model.pt")
    [problem] = problems(tmp_path / "model.pt")
    assert words in problem and "model.pt" in problem


# ---- as a run gets it ------------------------------------------------------------------------------------------------
def test_a_run_needs_no_overlay_whether_typed_or_made_in_python(
    tiny: Path, tmp_path: Path, run_here: Callable[..., Any]
) -> None:
    parser = configuration("inference", [tiny])
    network: Any = parser.get_parsed_content("network_def")
    plan = Plan({**configured_keys(parser), "flips": 2, "training_voxel_size": [2.0, 1.0, 1.0]}, "0.5.0")
    torch.save(noted_state(network, (), plan), tmp_path / "model.pt")
    image = np.random.default_rng(0).integers(0, 255, (8, 24, 24)).astype(np.uint8)
    write_volume(tmp_path / "Y.tif", image, (2.0, 1.0, 1.0))
    given = {"image": str(tmp_path / "Y.tif"), "dataset_dir": str(tmp_path), "seed_distance": 0.55}
    given["model_path"] = "$os.path.join(@dataset_dir, 'model.pt')"
    typed = {**given, "config_file": str(config("inference")), "output_dir": str(tmp_path / "typed")}
    (tmp_path / "args.json").write_text(json.dumps({**typed, "bundle_root": str(CONFIGS.parent)}))
    command = [sys.executable, "-m", "monai.bundle", "run", "--args_file", str(tmp_path / "args.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "carries no plan" not in done.stderr + done.stdout, done.stderr[-2000:]
    workflow = ConfigWorkflow(
        str(config("inference")), logging_file=False, **given, bundle_root=str(CONFIGS.parent), output_dir=str(tmp_path)
    )
    run_here("run", "inference", **{**given, "model_path": tmp_path / "model.pt"}, output_dir=tmp_path / "again")
    workflow.initialize()
    workflow.run()
    assert workflow.parser.get_parsed_content("inferer").flips == 2
    noted = Plan.from_text(workflow.parser["plan"])
    assert noted.keys["decoder"]["seed_distance"] == 0.55 and noted.keys["flips"] == 2 and noted.version == "0.5.0"
    expected = read_maps(tmp_path / "typed" / "Y_maps.h5")[0]
    assert read_plan(tmp_path / "typed" / "Y_maps.h5") == noted
    for folder in (tmp_path, tmp_path / "again"):
        assert np.array_equal(read_maps(folder / "Y_maps.h5")[0], expected)


def test_the_plan_of_a_result_names_every_option_of_its_decoder(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAR", "0.35")
    text = "$float(__import__('os').environ['BAR'])"
    config_ = configuration("inference", (), {"decoder": {"_target_": BCD, "seed_distance": text}})
    own = Plan({"scale": [1.0, 0.5, 0.5], "decoder": {"_target_": BCD, "seed_distance": 0.35}})
    for plan in (None, own):
        used = used_plan(config_.config, plan)
        assert used.keys["decoder"].items() >= {"seed_distance": 0.35, "min_seed_size": 32, "ties": "raster"}.items()
        assert "decoder" not in used.changed  # what the model leaves out is the default
        finer = used.for_volume([1.0, 0.25, 0.25]).keys["decoder"]
        assert (finer["min_seed_size"], finer["min_instance_size"]) == (128, 1024)
    # another package's decoder is not taken for the model's
    other = configuration("inference", (), {"decoder": {"_target_": "elsewhere.Decoder"}}).config
    assert "decoder" not in used_plan(other, own).keys
