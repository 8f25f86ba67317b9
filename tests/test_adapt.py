"""From two volumes to instances in one command: what it leaves, what it does not do again, what it rejects."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scripts.adapt import adapt_files
from scripts.adapt import command as adapt_module
from scripts.adapt.effort import EFFORTS
from scripts.adapt.progress import TimeLeft, span
from scripts.adapt.stage import STAGES
from scripts.adapt.table import write_instances
from scripts.command.bundle import BUNDLE
from scripts.command.lock import Lock
from scripts.errors import InputError, StoppedError
from scripts.plan.file import read_plan
from scripts.report.confidence import confidence_of_table
from scripts.volume_io import read_volume, write_volume

from conftest import assert_change_is_rejected

NAMES = ("plan", "source only", "CySGAN", "refinement", "instances", "confidence", "table", "page")


@pytest.fixture
def given(volumes: Path, tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of an adaptation on copies of the phantoms, which a test may change."""
    folder = tmp_path / "in put"
    folder.mkdir()
    names = {"image_x": "imageX_0.tif", "label_x": "labelX_0.tif", "image_y": "imageY.tif"}
    files = {key: str(shutil.copy2(volumes / name, folder)) for key, name in names.items()}
    shutil.copy2(volumes / "labelY.tif", folder)
    return {**files, "config": str(tiny), "output_dir": str(tmp_path / "out")}


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> Callable[..., list[str]]:
    """Adapt without doing a stage: the names of those that would have been done are returned."""
    done: list[str] = []
    words = {stage.name: stage for stage in STAGES}

    def run(stage: Any, request: Any, record: Any, left: Any, memory: Any) -> None:
        done.append(stage.name)
        with record.stage(stage.name):
            for path in words[stage.name].results(request):
                path.write_text(stage.name)

    monkeypatch.setattr("scripts.adapt.command._do", run)
    result = {"volumes": [], "scores": None, "minutes": 0.0, "peak_memory_mb": 0}
    monkeypatch.setattr("scripts.adapt.command.write_result", lambda *_: result)

    def adapt(**changed: Any) -> list[str]:
        done.clear()
        adapt_files(**{**given, **changed})
        return list(done)

    return adapt


def killed(given: dict[str, Any], moment: Callable[[], bool]) -> None:
    """Start an adaptation and kill it at a moment."""
    words = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    with subprocess.Popen([sys.executable, "-m", "scripts.adapt", *words], cwd=BUNDLE) as process:
        while not moment() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.long
def test_killed_and_given_again_it_ends_with_everything(
    given: dict[str, Any], volumes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = Path(given["output_dir"])
    given["keep"] = "better"
    given["image_y"] = [given["image_y"], str(volumes / "stackY.nii.gz")]
    given["label_y"] = [str(shutil.copy2(volumes / "labelY.tif", tmp_path / name)) for name in ("a.tif", "b.tif")]
    killed(given, (out / "stages.json").exists)
    assert not (out / "model.pt").exists()
    capfd.readouterr()
    result = adapt_files(**given)
    said = capfd.readouterr().out
    assert "1/8 plan: finished earlier" in said and "2/8 source only: finished" not in said
    assert [*result["commands"]] == [*NAMES]
    assert json.loads((out / "result.json").read_text()) == result
    assert result["start"] == "fresh weights" and result["scores"]["present"] == 12
    plan = read_plan(out / "model.pt")
    assert plan is not None and result["plan"]["trained_on"]["stage"] == plan.trained_on["stage"]
    assert [volume["files"][1] for volume in result["volumes"]] == ["imageY_instances.tif", "stackY_instances.tif"]
    rows = list(csv.DictReader((out / "instances.csv").open()))
    assert {row["volume"] for row in rows} <= {"imageY.tif", "stackY.nii.gz"}
    assert result["judged"]["chosen"] in [one["name"] for one in result["judged"]["candidates"]]
    page = (out / "report.html").read_text()
    assert "weights chosen without labels" in page
    assert "scripts.match_domains" in page and "--max_iterations 2 " in page
    assert "imageY_maps.h5 records it." in page and "What the model was trained on" in page
    # all is there: nothing is done again; and what is gone is made again, and what comes after it
    before = {
        path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix in (".pt", ".tif", ".html", ".csv")
    }
    adapt_files(**given)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (out / "report.html").unlink()
    capfd.readouterr()
    adapt_files(**given)
    assert "7/8 table: finished earlier\n== 8/8 page" in capfd.readouterr().out
    assert (out / "report.html").read_text() == page


@pytest.mark.long
def test_killed_at_any_moment_it_ends_with_what_the_listed_commands_make(given: dict[str, Any], tmp_path: Path) -> None:
    out, copy = Path(given["output_dir"]), tmp_path / "by_hand"
    killed(given, (out / "plan.yaml").exists)
    killed(given, lambda: bool(list((out / "train").glob("checkpoint_*.pt"))))
    killed(given, (out / "source_only.pt").exists)
    killed(given, (out / "model.pt").exists)
    killed(given, (out / "imageY_maps.h5").exists)
    killed(given, (out / "instances.csv").exists)
    adapt_files(**given)
    copy.mkdir()
    script = (out / "commands.sh").read_text().replace(str(out), str(copy))
    (copy / "commands.sh").write_text(script)
    for line in script.splitlines():
        if line.startswith("python "):
            subprocess.run([sys.executable, *shlex.split(line)[1:]], cwd=BUNDLE, check=True)
    for name in ("plan.yaml", "instances.csv", "imageY_instances.tif"):
        assert (copy / name).read_bytes() == (out / name).read_bytes(), name
    for name in ("source_only.pt", "model.pt"):
        one, other = (torch.load(folder / name, weights_only=True) for folder in (copy, out))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one), name


def test_labels_of_y_that_come_or_change_only_score(stages: Callable[..., list[str]], given: dict[str, Any]) -> None:
    label = Path(given["image_y"]).with_name("labelY.tif")
    assert stages() == [*NAMES]
    assert stages() == []
    assert stages(label_y=str(label)) == [*NAMES[4:]]
    os.utime(label, (1, 1))
    assert stages(label_y=str(label)) == [*NAMES[4:]]
    assert stages(label_y=str(label)) == []
    Path(given["output_dir"], "source_only.pt").unlink()
    assert stages(label_y=str(label)) == []  # the training has passed it and would not write it again
    Path(given["output_dir"], "model.pt").unlink()
    assert stages(label_y=str(label)) == [*NAMES[3:]]
    Path(given["output_dir"], "cysgan.pt").unlink()
    assert stages(label_y=str(label)) == [*NAMES[2:]]


@pytest.mark.parametrize("key", ["image_x", "image_y", "config"])
def test_files_that_changed_since_are_named_and_nothing_is_touched(
    key: str, stages: Callable[..., list[str]], given: dict[str, Any], tmp_path: Path
) -> None:
    given["config"] = str(shutil.copy2(given["config"], tmp_path))
    stages()
    assert_change_is_rejected(Path(given[key]), Path(given["output_dir"]), stages)


def test_an_output_folder_of_another_run_is_rejected(stages: Callable[..., list[str]], given: dict[str, Any]) -> None:
    stages()
    with pytest.raises(InputError, match=r"run with other settings \(overrides seed\)"):
        stages(seed=3)
    with pytest.raises(InputError, match=r"run with other settings \(effort"):
        stages(effort="standard")
    (Path(given["output_dir"]) / "settings.json").unlink()
    with pytest.raises(InputError, match="does not say how it was made"):
        stages()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.json", "[1]"),
        ("settings.json", '{"files": 3}'),
        ("stages.json", "[]"),
        ("stages.json", '{"plan": true}'),
        ("stages.json", '{"plan": {"seconds": "long"}}'),
    ],
)
def test_a_damaged_record_is_one_line_that_names_it(
    name: str, text: str, stages: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    stages()
    Path(given["output_dir"], name).write_text(text)
    with pytest.raises(InputError, match=rf"{name} cannot be read: .*Remove"):
        stages()


def test_a_stage_that_was_stopped_is_done_again_and_those_before_it_are_not(
    stages: Callable[..., list[str]], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopped:
        command = "scripts.adapt.command._do"
        do = adapt_module._do

        def stop(stage: Any, request: Any, record: Any, *others: Any) -> None:
            if stage.name == "CySGAN":
                with record.stage(stage.name):
                    raise StoppedError("stopped by SIGTERM")
            do(stage, request, record, *others)

        stopped.setattr(command, stop)
        with pytest.raises(StoppedError):
            stages()
    assert stages() == [*NAMES[2:]]


@pytest.mark.parametrize("name", ["imageY_maps.h5", "imageY_instances.tif", "report.html", "commands.sh"])
def test_results_of_other_commands_in_the_output_folder_are_not_replaced(
    name: str, stages: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    path = Path(given["output_dir"]) / name
    path.parent.mkdir()
    path.write_text("of inference")
    with pytest.raises(InputError, match=rf"holds {name} of a run that does not say how it was made"):
        stages()
    assert path.read_text() == "of inference" and len(list(path.parent.iterdir())) == 1


def test_wrong_voxel_sizes_can_be_left_out_as_the_message_says(
    stages: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    _huge_voxels(given)
    with pytest.raises(InputError, match="--by_voxel_size false"):
        stages()
    assert stages(by_voxel_size="false") == list(NAMES)
    script = (Path(given["output_dir"]) / "commands.sh").read_text()
    assert "scripts.match_domains" in script and "--by_voxel_size False" in script


def _set(**changed: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: changed


def _mask(given: dict[str, Any]) -> dict[str, Any]:
    label, _ = read_volume(given["label_x"])
    write_volume(given["label_x"], np.zeros_like(label))
    return {}


def _huge_voxels(given: dict[str, Any]) -> dict[str, Any]:
    image, size = read_volume(given["image_y"])
    write_volume(given["image_y"], image, [1000 * side for side in size or ()])
    return {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(image_y="nowhere.tif"), "nowhere.tif"),
        (_set(effort="fast"), "expected one of: quick"),
        (_set(config="nowhere.yaml"), "no file nowhere.yaml"),
        (lambda given: {"image_y": given["image_x"]}, "the same volume"),
        (lambda given: {"image_y": [given["image_y"]] * 2}, "found twice"),
        (_set(max_iteration=3), "Did you mean max_iterations"),
        (_set(labels_y="l.tif"), "Did you mean --label_y"),
        (_set(warm_up_iterations=4), "expected fewer"),
        (_set(max_iterations=1), "expected fewer"),
        (_set(resume=True), "sets this key by itself"),
        (_set(voxel_size_y=[100.0, 100.0, 100.0]), "differ by a factor"),
        (_set(expansion_y=-1.0), "expansion_y"),
        (_set(diameter=0.5), "diameter"),
        (_set(voxel_size_x=[1.0]), "voxel_size_x"),
        (_set(start_from="nowhere.pt"), "nowhere.pt"),
        (_set(rounds=-1), "rounds: found -1, expected"),
        (_set(least_kept=2), "least_kept: found 2, expected"),
        (_mask, "labelX_0.tif"),
        (_huge_voxels, "differ by a factor"),
    ],
)
def test_what_cannot_be_done_is_rejected_before_anything_is(
    given: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        adapt_files(**{**given, **change(given)})
    assert not Path(given["output_dir"]).exists()


def test_a_file_in_the_place_of_the_output_folder_is_rejected(given: dict[str, Any]) -> None:
    Path(given["output_dir"]).write_text("")
    with pytest.raises(InputError, match="is a file"):
        adapt_files(**given)


def test_what_does_not_fit_is_rejected_before_any_work(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000}))
        with pytest.raises(InputError, match=r"results may take 0\.20 GB, 0\.00 GB are free"):
            adapt_files(**given)
    monkeypatch.setattr("scripts.adapt.preflight.available_bytes", lambda: 1_000_000)
    with pytest.raises(InputError, match=r"imageY\.tif: to segment it takes .* block by block"):
        adapt_files(**given)
    assert not Path(given["output_dir"]).exists()


def test_a_second_run_in_the_same_folder_is_rejected(stages: Callable[..., list[str]], given: dict[str, Any]) -> None:
    with (
        Lock(Path(given["output_dir"]) / ".adapt.lock", given["output_dir"]),
        pytest.raises(InputError, match="another run"),
    ):
        stages()


def test_a_shorter_training_keeps_the_share_of_its_source_only_part(
    stages: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    assert stages(max_iterations=40) == [*NAMES]
    script = (Path(given["output_dir"]) / "commands.sh").read_text()
    assert "--max_iterations 40 --warm_up_iterations 20 " in script
    assert "--max_iterations 20 --warm_up_iterations @max_iterations" in script


def test_the_refinement_is_as_short_as_the_training_and_can_be_left_out(
    stages: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    script = Path(given["output_dir"]) / "commands.sh"
    stages(max_iterations=300, learning_rate=0.0007, **{"cleaning::iou": 0.7})
    [line] = [line for line in script.read_text().splitlines() if "refine.yaml" in line]
    assert "--cleaning::iou 0.7 --round_iterations 60 " in line and "--learning_rate 0.0007" in line
    assert "max_iterations" not in line and "out/cysgan.pt" in line and "out/model.pt" in line
    shutil.rmtree(given["output_dir"])
    assert stages(rounds=0) == [name for name in NAMES if name != "refinement"]
    assert "refine.yaml" not in script.read_text() and "cysgan.pt" not in script.read_text()


def test_the_model_is_chosen_without_labels_unless_the_user_wants_the_last_one(
    stages: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    stages(keep="last")
    script = (Path(given["output_dir"]) / "commands.sh").read_text()
    configs = re.findall(r"--config_file (.*?\])", script)[:2]  # the source alone, then the whole training
    assert all("judged.yaml" in names and names.index("judged") < names.index("plan") for names in configs)
    assert re.findall(r"--keep (\w+)", script) == ["last", "last"]


def test_without_a_warm_up_there_is_no_source_only_stage(stages: Callable[..., list[str]]) -> None:
    assert stages(warm_up_iterations=0) == [name for name in NAMES if name != "source only"]


def test_the_model_keeps_the_voxel_size_that_a_flag_states_unless_the_file_states_another(
    stages: Callable[..., list[str]], given: dict[str, Any], tmp_path: Path
) -> None:
    array, _ = read_volume(given["image_y"])
    for stated, kept in (
        (None, "'[2.0, 0.5, 0.5]'"),
        ((1.0, 1.0, 1.0), "unknown"),
        ((2.0, 0.5, 0.5), "'[2.0, 0.5, 0.5]'"),
    ):
        write_volume(given["image_y"], array, stated)
        out = tmp_path / f"out_{stated}"
        stages(voxel_size_y=[2.0, 0.5, 0.5], output_dir=str(out))
        assert (out / "commands.sh").read_text().count(f"--train::plan::voxel_size {kept} ") == 3, stated


def test_every_effort_is_made_of_configurations_that_are_there() -> None:
    assert all(
        (BUNDLE / "configs" / f"{name}.yaml").is_file() for effort in EFFORTS.values() for name in effort.overlays
    )


def test_the_table_has_each_instance_of_each_volume_with_its_size(balls: np.ndarray, tmp_path: Path) -> None:
    maps = np.stack([np.zeros_like(balls), 255 * (balls > 0), 0 * balls, 128 + 0 * balls]).astype(np.uint8)
    for name, size in (("a", (2.0, 1.0, 1.0)), ("b", None)):
        write_volume(tmp_path / f"{name}.tif", balls.astype(np.uint8), size)
        write_volume(tmp_path / f"{name}_instances.tif", balls, size)
        names = ["image", "foreground", "contour", "distance"]
        write_volume(tmp_path / f"{name}_maps.h5", maps, channel_names=names)
    write_instances(
        [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")], str(tmp_path), str(tmp_path / "i.csv"), expansion=2
    )
    rows = list(csv.DictReader((tmp_path / "i.csv").open()))
    assert [(row["volume"], row["id"]) for row in rows] == [
        (name, str(i)) for name in ("a.tif", "b.tif") for i in range(1, 5)
    ]
    voxels = np.bincount(balls.ravel())[1:]
    assert [int(row["voxels"]) for row in rows] == [*voxels, *voxels]
    np.testing.assert_allclose([float(row["volume_um3"]) for row in rows[:4]], voxels * 2 / 8, rtol=1e-5)
    assert {row["volume_um3"] for row in rows[4:]} == {""}
    assert {row["mean_foreground"] for row in rows} == {"1"} and rows[3]["touches_border"] == "1"
    assert {row["confidence"] for row in rows} == {""}


def test_the_table_takes_the_confidence_of_its_own_instances_alone(balls: np.ndarray, tmp_path: Path) -> None:
    write_volume(tmp_path / "a.tif", balls.astype(np.uint8))
    write_volume(tmp_path / "a_instances.tif", balls)
    names = ["foreground", "contour", "distance"]
    write_volume(tmp_path / "a_maps.h5", np.zeros((3, *balls.shape), np.uint8), channel_names=names)
    known = tmp_path / "a_confidence.csv"
    known.write_text("id,confidence\n1,1\n2,0.5\n3,0\n4,0.1667\n")
    out = tmp_path / "i.csv"
    write_instances(str(tmp_path / "a.tif"), str(tmp_path), str(out))
    assert [row["confidence"] for row in csv.DictReader(out.open())] == ["1", "0.5", "0", "0.1667"]
    part = confidence_of_table(str(out), "elsewhere/a.tif")
    assert part is not None and [row[0] for row in part.rows] == ["3", "4", "2", "1"]
    assert confidence_of_table(str(out), "b.tif") is None
    with pytest.raises(InputError, match=r"nowhere\.csv: cannot be read as a table of instances"):
        confidence_of_table("nowhere.csv")
    known.write_text("id,confidence\n1,1\n2,0.5\n")
    with pytest.raises(InputError, match=r"a_confidence\.csv: found the confidence of 2 other inst"):
        write_instances(str(tmp_path / "a.tif"), str(tmp_path), str(out))


def test_the_time_left_follows_from_the_rate_of_the_training() -> None:
    left = TimeLeft.__new__(TimeLeft)
    left.passes, left.left, left.voxels, left.rate = {"source only": 60.0, "CySGAN": 600.0}, ["CySGAN", "page"], 0, None
    assert left.seconds() is None
    left.rate = 0.5
    assert left.seconds() == pytest.approx(300 + 20)
    assert left.seconds("CySGAN", 200.0) == pytest.approx(200 + 10)
    assert [span(n) for n in (20, 130, 7300)] == ["less than a minute", "about 2 min", "about 2 h 2 min"]
