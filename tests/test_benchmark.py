"""The benchmark tool runs, and its file has the figures; what they are depends on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scripts.volume_io import write_volume

TINY = {
    "network_def::filters": [8, 16],
    "network_def::isotropic_from": 1,
    "network_def::padding_mode": "zeros",
    "network_def::non_local": False,
    "window": [4, 16, 16],
    "window_padding": [0, 0, 0],
    "scale": [1.0, 0.5, 0.5],
    "decoder::seed_foreground": 0.6,
    "decoder::seed_contour": 0.9,
    "decoder::mask_foreground": 0.1,
    "decoder::seed_distance": -0.9,
    "decoder::mask_distance": -0.9,
    "decoder::min_seed_size": 1,
    "decoder::min_instance_size": 1,
}
_HOLDS = '{{"results": {{"window": {{"seconds": {}}}}}}}'
TOOLS = Path(__file__).resolve().parents[1] / "tools"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / "benchmark.py"), "--threads", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"})


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of tools/ by name, as its neighbours do."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return import_module


@pytest.fixture
def trained(tmp_path: Path, tool: Any) -> dict[str, Any]:
    """Files and configs of a tiny network, not trained, whose thresholds are low enough for instances to be found."""
    overlay = tmp_path / "tiny.yaml"
    overlay.write_text(yaml.safe_dump(TINY))
    volume = tool("material").volume(0, (12, 48, 48))
    image, label, model = tmp_path / "imageY.tif", tmp_path / "labelY.tif", tmp_path / "model.pt"
    write_volume(image, (255 * volume["image"][0]).astype(np.uint8), (2.0, 1.0, 1.0))
    write_volume(label, volume["label"][0], (2.0, 1.0, 1.0))
    configs = ["inference", str(overlay)]
    torch.save(tool("material").parsed(configs).get_parsed_content("network").state_dict(), model)
    return {"image": str(image), "label": str(label), "model": str(model), "configs": configs}


def test_watershed_of_touching_ellipsoids_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "new" / "figures.json"
    done = run("--only", "watershed", "--shape", "24,48,48", "--iterations", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("attainable GFLOP/s: ")
    report = json.loads(out.read_text())
    assert report["machine"]["threads"] == 1
    assert all(rate > 0 for rate in report["machine"]["attainable"].values())
    figures = report["results"]["watershed"]
    assert figures["shape"] == [24, 48, 48]
    assert figures["instances"] == figures["found"] == 8
    measured = "seconds core_seconds voxels_per_second voxels_per_core_second peak_memory_mb memory_before_mb"
    assert all(figures[name] > 0 for name in measured.split())
    assert "of the reference" not in done.stdout, "its figure is that of another shape"


@pytest.mark.long
def test_operations_of_a_step_are_counted_rated_and_compared(tmp_path: Path) -> None:
    old, out = tmp_path / "old.json", tmp_path / "figures.json"
    small = {"shape": [2, 17, 17], "flops": 1_000_000_000}
    old.write_text(json.dumps({"results": {"train_small": small, "gone": {"seconds": 1.0}}}))
    arguments = ("--only", "train_small", "--shape", "2,17,17", "--iterations", "1")
    done = run(*arguments, "--out", str(out), "--against", str(old))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    figures = report["results"]["train_small"]
    assert (figures["terms"], figures["iterations"], figures["precision"]) == (9, 1, "float32")
    rate = figures["flops"] / figures["seconds"] / 1e9
    assert rate > 0
    assert figures["gflop_per_second"] == pytest.approx(rate)
    assert figures["share_of_attainable"] == pytest.approx(rate / report["machine"]["attainable"]["float32"])
    assert f"{figures['flops'] / 1e9:.2f} of old.json's 1.000" in done.stdout
    assert "% of the attainable" in done.stdout
    assert "only in old.json: gone" in done.stdout


def test_operations_are_those_of_convolutions_forward_and_back(tool: Any) -> None:
    convolution = torch.nn.Conv3d(2, 4, 3, padding=1)
    image = torch.rand(1, 2, 5, 6, 7)
    once = 2 * 27 * 2 * 4 * 5 * 6 * 7
    operations = tool("stopwatch").operations
    assert operations(lambda: convolution(image)) == once
    assert operations(lambda: convolution(image).sum().backward()) == 2 * once  # of the weights, not of the image


def test_operations_of_a_volume_are_those_of_its_windows(tool: Any) -> None:
    prediction = tool("prediction")
    volume = prediction.inference((30, 4, 4), 1, amp=False)  # padded, 38 x 36 x 36: two windows
    window = prediction.window((33, 36, 36), 1, amp=False)
    assert volume["windows"] == 2
    assert volume["flops"] == 2 * window["flops"] > 0
    assert volume["precision"] == window["precision"] == "float32"


def test_figures_stand_beside_the_references_and_earlier_ones(tool: Any) -> None:
    figure = tool("figure")
    result = {"shape": [17, 129, 129], "seconds": 3.0, "core_seconds": 19.0, "peak_memory_mb": 8950.0}
    name, old = "train_published_bfloat16", {"seconds": 4.0, "core_seconds": 38.0}
    text = "\n".join(figure.lines(name, result, figure.Earlier("o", {name: old})))
    assert "0.20 of the reference's 95.0000; 0.50 of o's 38.0000" in text
    assert "0.50 of the reference's 17,900" in text
    assert "0.75 of o's 4.0000" in text


def test_figures_of_other_shapes_are_not_compared(tool: Any) -> None:
    figure = tool("figure")
    result = {"shape": [33, 257, 257], "core_seconds": 1.0}
    other = figure.Earlier("o", {"window": {"shape": [8, 8, 8], "core_seconds": 1.0}})
    assert "of another shape in o" in figure.lines("window", result, other)[0]
    assert "of o's" not in "".join(figure.lines("window", result, other))
    assert "not in o" in figure.lines("window", result, figure.Earlier("o", {}))[0]
    assert figure.reference("window", {"shape": [8, 8, 8]}) == {}


def test_prediction_block_by_block_is_measured(tool: Any) -> None:
    result = tool("prediction").blocks((32, 64, 64), 1, (16, 64, 64))
    assert result["voxels_per_second"] > 0 < result["bytes_for_voxel_of_block"]


def test_inference_from_file_to_files_stays_within_its_memory(tool: Any) -> None:
    result = tool("prediction").files((48, 320, 320), 1)
    # 21 to 24 for large volumes (PERFORMANCE.md); libraries that are loaded meanwhile take some 50 MB
    assert result["bytes_for_voxel"] < 30 + 50e6 / (48 * 320 * 320)
    assert (
        f"{result['bytes_for_voxel']:.1f} bytes for each voxel"
        in tool("figure").lines("files", {"shape": (48, 320, 320), **result})[0]
    )


@pytest.mark.parametrize("content", [None, "{", "[]", '{"results": [1]}', _HOLDS.format('"no"'), _HOLDS.format(0)])
def test_a_file_without_figures_is_said_before_any_work(tmp_path: Path, content: str | None) -> None:
    old = tmp_path / "old.json"
    if content is not None:
        old.write_text(content)
    done = run("--only", "watershed", "--against", str(old))
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr.startswith(f"{old}: ")
    assert done.stderr.count("\n") == 1


def test_tiles_need_a_trained_network(tmp_path: Path) -> None:
    refused, empty = run("--only", "tiles"), run("--only", "overlap", "--run", str(tmp_path))
    assert refused.returncode == empty.returncode == 1
    assert "--run" in refused.stderr
    assert f"{tmp_path / 'model.pt'}: no such file" in empty.stderr
    assert refused.stderr.count("\n") == empty.stderr.count("\n") == 1


def test_tiles_compare_windows_and_grids(tool: Any, trained: dict[str, Any]) -> None:
    result = tool("tiling").tiles(1, **trained)
    usual, *others = result["rows"]
    assert result["shift"] == (1, 6, 6)
    assert usual["instances"] > 0
    assert [row["prediction"] for row in others] == ["larger window", "shifted grid"]
    assert all(0 < row["mean_difference"] < 1 for row in others)
    assert all(0 <= row["f1_with_configured"] <= 1 for row in others)


def test_overlaps_are_scored_against_labels_and_half(tool: Any, trained: dict[str, Any]) -> None:
    rows = tool("tiling").overlap(1, **trained)["rows"]
    assert [(row["overlap"], row["precision"]) for row in rows[2:]] == [(0.5, "float32"), (0.5, "bfloat16")]
    assert rows[2]["f1_with_half"] == 1 > rows[0]["f1_with_half"]
    assert all(row["voxels_per_core_second"] > 0 and 0 <= row["ap50"] <= 1 and row["dice"] > 0 for row in rows)


def test_a_grid_is_shifted_by_whole_voxels_of_the_network(tool: Any) -> None:
    tiling, volume = tool("tiling"), torch.rand(1, 1, 4, 5, 6)
    assert tiling.third((16, 64, 64), (1.0, 0.5, 0.5)) == (5, 22, 22)
    assert tiling.third((1, 2, 2), (1.0, 0.5, 0.5)) == (1, 2, 2)
    moved = tiling.shifted(volume, (1, 2, 7))
    assert moved.shape == (1, 1, 5, 7, 13)
    assert np.array_equal(tiling.cropped(moved[0].numpy(), (1, 2, 7)), volume[0].numpy())


def test_a_training_beside_a_busy_process_is_measured_with_and_without_our_waits(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, asked = tool("beside"), []

    def seconds(*given: Any) -> float:
        asked.append(given[-2:])
        return {False: 0.5, True: 2.0}[given[-1]] * (1.0 if given[-2] else 1.1)

    monkeypatch.setattr(module, "_seconds", seconds)
    result = module.beside((16, 32, 32), 2, ["train"], rounds=2)
    assert len(asked) == 8
    assert [row["speed_kept"] for row in result["rows"]] == [0.25, 0.25]
    assert result["cost_alone"] == pytest.approx(0.1)
    printed = "\n".join(tool("figure").lines("beside", {"shape": (16, 32, 32), **result}))
    assert "an iteration alone takes +10% with the waits of our trainings" in printed
    assert "OpenMP's own" in printed


def test_what_runs_beside_has_the_variables_asked_for_and_they_are_gone_after(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tool("beside")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with module._environment({"GOMP_SPINCOUNT": "5"}), module._busy_process(True):
        assert os.environ["GOMP_SPINCOUNT"] == "5"
        assert "OMP_WAIT_POLICY" not in os.environ
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_patches_are_drawn_by_the_training_configuration(tool: Any) -> None:
    figures = tool("training").pair((5, 16, 16), 2)
    assert figures["iterations"] == 2
    assert figures["core_seconds"] > 0


def test_phantoms_are_the_same_each_time(tool: Any) -> None:
    ellipsoids = tool("material").ellipsoids
    one, again, other = (ellipsoids((17, 129, 129), (9, 27, 27), seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert 45 <= len(np.unique(one)) - 1 <= 50


def test_a_shape_is_for_one_workload_that_has_one() -> None:
    for arguments, reason in (((), "one NAME"), (("--only", "tiles"), "leave --shape out")):
        refused = run("--shape", "8,8,8", *arguments)
        assert refused.returncode == 2
        assert reason in refused.stderr


@pytest.mark.parametrize("flags", [["--workers", "2", "--block", "16,64,64"], ["--whole"]])
def test_scaling_makes_its_maps_once_and_measures(tmp_path: Path, flags: list[str]) -> None:
    command = [sys.executable, str(TOOLS / "scaling.py"), "--shape", "24,100,80", "--folder", str(tmp_path), *flags]
    first = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    made = (tmp_path / "24x100x80" / "done").stat().st_mtime_ns
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (tmp_path / "24x100x80" / "done").stat().st_mtime_ns == made
    assert first["voxels_per_second"] > 0
    assert first["memory_mb"] > 50
    instances = [int(result["text"].splitlines()[-1].split()[0]) for result in (first, again)]
    assert instances[0] == instances[1] > 10
