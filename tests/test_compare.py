"""The comparison: what it runs, what it does not run again, what it refuses, and its table."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripts.command.bundle import BUNDLE
from scripts.compare import METHODS, Run, Target, compare, summarise
from scripts.compare.command import read_files
from scripts.errors import InputError

from conftest import assert_change_is_rejected


@pytest.fixture
def given(volumes: Path, tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of a comparison on the phantoms."""
    names = {"image_x": "imageX_0.tif", "label_x": "labelX_0.tif", "image_y": "imageY.tif", "label_y": "labelY.tif"}
    files = {key: str(volumes / name) for key, name in names.items()}
    return {**files, "config": str(tiny), "output_dir": str(tmp_path / "out")}


def test_every_method_has_its_overlay() -> None:
    overlays = {method.overlay for method in METHODS.values() if method.overlay}
    assert all((BUNDLE / "configs" / f"{name}.yaml").is_file() for name in overlays)
    assert {p.stem for p in (BUNDLE / "configs").glob("*.yaml") if p.stem[:8] in ("baseline", "ablation")} <= overlays


def test_two_methods_end_in_a_table_and_a_picture(given: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    compare(methods="source_only,classical", seeds="1", **given)
    out = Path(given["output_dir"])
    with open(out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["seed"]) for row in rows] == [("source only", "1"), ("classical recipe", "1")]
    assert all(row["present"] == "12.0" for row in rows)
    assert float(rows[0]["hours"]) > 0
    assert (out / "results.png").stat().st_size > 0
    assert "| source only |" in (out / "results.md").read_text()
    capfd.readouterr()
    weights = (out / "source_only" / "1" / "model.pt").stat().st_mtime_ns
    compare(methods="source_only", seeds=1, **given)
    assert "finished earlier" in capfd.readouterr().out
    assert (out / "source_only" / "1" / "model.pt").stat().st_mtime_ns == weights
    # stopped between its last checkpoint and its end
    for name in ("result.json", "stages.json"):
        (out / "source_only" / "1" / name).unlink()
    compare(methods="source_only", seeds=1, **given)
    assert (out / "source_only" / "1" / "result.json").is_file()
    with pytest.raises(InputError, match=r"other settings \(overrides max_iterations\)"):
        compare(methods="source_only", seeds=1, max_iterations=6, **given)


def test_each_method_is_run_with_each_seed_and_what_is_not_trained_once(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[tuple[str, int]] = []
    monkeypatch.setattr(Run, "result", lambda self: run.append((self.method.title, self.seed)) or {"hours": 0.0})
    monkeypatch.setattr("scripts.compare.command._draw", lambda path, runs: None)
    compare(methods="source_only,histogram,classical", seeds="0,1", **given)
    assert run == [
        *((name, seed) for name in ("source only", "histogram matching") for seed in (0, 1)),
        ("classical recipe", 0),
    ]


@pytest.fixture
def finished(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Compare without training: what was trained, and what was scored, is returned."""
    done: list[str] = []

    def learned(self: Run) -> dict[str, Any]:
        if not self._record.done("training"):
            with self._record.stage("training"):
                done.append("trained")
        done.append("scored")
        return {"ap50": 0.5}

    monkeypatch.setattr(Run, "_learned", learned)
    monkeypatch.setattr("scripts.compare.command._draw", lambda path, runs: None)

    def run(methods: str = "cysgan", **changed: Any) -> list[str]:
        done.clear()
        compare(methods=methods, **{**given, **changed})
        return list(done)

    assert run() == ["trained", "scored"]
    assert run() == []
    return run


@pytest.fixture
def copies(given: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Arguments that name copies, which a test may change."""
    (tmp_path / "in").mkdir()
    for key in ("image_x", "label_x", "image_y", "label_y", "config"):
        given[key] = shutil.copy2(given[key], tmp_path / "in")
    return given


@pytest.mark.parametrize("key", ["image_x", "label_x", "image_y", "config"])
def test_a_finished_run_of_files_that_have_changed_is_refused_by_name(
    key: str, copies: dict[str, Any], finished: Callable[..., list[str]]
) -> None:
    assert_change_is_rejected(Path(copies[key]), Path(copies["output_dir"]), finished)


def test_where_labels_of_y_alone_changed_a_run_is_only_scored_again(
    copies: dict[str, Any], finished: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert finished("oracle") == ["trained", "scored"]
    os.utime(copies["label_y"], (1, 1))
    assert finished() == ["scored"]
    assert "scored again: labels of Y changed" in capsys.readouterr().out
    assert finished() == []
    with pytest.raises(InputError, match=r"labelY\.tif was \d+ bytes of .*, is \d+ bytes of 1970"):
        finished("oracle")


@pytest.mark.parametrize(
    ("settings", "message"),
    [('{"method": "CySGAN"}', "earlier version"), ('{"method', "cannot be read"), (None, "no settings.json")],
)
def test_a_run_that_does_not_say_what_it_read_is_refused(
    settings: str | None, message: str, given: dict[str, Any], finished: Callable[..., list[str]]
) -> None:
    path = Path(given["output_dir"]) / "cysgan" / "0" / "settings.json"
    path.write_text(settings) if settings else path.unlink()
    with pytest.raises(InputError, match=message):
        finished()


def test_weights_that_a_run_starts_from_are_among_its_files(copies: dict[str, Any], tmp_path: Path) -> None:
    weights = tmp_path / "first.pt"
    weights.write_bytes(b"1")
    items = {**copies, "start_from": weights}
    files, label_y = read_files(items, Target([copies["image_y"]], [copies["label_y"]]))
    assert [Path(name).name for name in files] == ["imageX_0.tif", "labelX_0.tif", "imageY.tif", "first.pt"]
    assert list(label_y) == [copies["label_y"]]


def test_without_labels_of_y_there_is_a_picture_and_no_score(given: dict[str, Any]) -> None:
    compare(methods="classical", **{key: value for key, value in given.items() if key != "label_y"})
    with open(Path(given["output_dir"]) / "results.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["ap50"] == row["score"] == ""
    assert float(row["found"]) > 0


def test_without_labels_of_y_a_model_has_the_score_of_judge(
    given: dict[str, Any], volumes: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    judged, looked_at = [], []

    def judge_model(model: Path, crops: Any, name: str, expected: float) -> Any:
        judged.append((model.name, crops, name, expected))
        return SimpleNamespace(score=SimpleNamespace(value=0.625), vetoes=["nothing is found"])

    monkeypatch.setattr("scripts.compare.run.judge_model", judge_model)
    monkeypatch.setattr("scripts.compare.run.predictor_of", lambda path: path)
    monkeypatch.setattr("scripts.compare.run.volume_crops", lambda image, **_: looked_at.append(image) or "crops")
    monkeypatch.setattr("scripts.compare.run.labelled_solidity", lambda labels: len(labels))
    monkeypatch.setattr("scripts.compare.run.run_words", lambda words: None)
    monkeypatch.setattr(Run, "_train", lambda self: None)
    monkeypatch.setattr(Run, "_named", lambda *_: volumes / "labelY.tif")
    monkeypatch.setattr("scripts.compare.command._draw", lambda path, runs: None)
    compare(methods="source_only,two_step", **{key: value for key, value in given.items() if key != "label_y"})
    titles = ("source only", "CycleGAN, then segmentation")
    assert judged == [("model.pt", ["crops"], title, 1) for title in titles]
    assert looked_at == [given["image_y"]]  # once, not for each method
    said = capfd.readouterr().out
    assert "source only: nothing is found" in said
    assert "| method | score without labels | found / present |" in said
    assert "| source only | 0.625 | 12 / – |" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": "cysgan,magic"}, "expected some of cysgan"),
        ({"methods": "oracle", "label_y": None}, "labels of Y"),
        ({"config": "nowhere.yaml"}, "no file nowhere.yaml"),
        ({"image_x": "nowhere.tif"}, "nowhere.tif"),
        ({"seed": 3}, "give --seeds"),
        ({"seeds": "0,x"}, "seeds: found 0, x, expected whole numbers"),
        ({"seeds": 1.5}, "seeds: found 1.5"),
        ({"seeds": "0,0"}, "each once"),
        ({"seeds": ""}, "seeds: found none"),
        ({"seeds": -1}, "seeds: found -1"),
        ({"methods": "no_input_defects", "random_transforms": None}, "leave one of the two out"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    given: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare(**{**given, **change})
    assert not Path(given["output_dir"]).exists()


def test_the_table_has_the_mean_and_the_range_of_the_seeds() -> None:
    rows = [
        {"method": "CySGAN", "seed": s, "ap50": a, "found": 10, "hours": 0.5} for s, a in enumerate((0.2, 0.4, 0.6))
    ]
    line = summarise([*rows, {"method": "classical recipe", "seed": 0, "ap50": 0.3}]).splitlines()[2:]
    assert line[0] == "| CySGAN | 0.400 (0.200–0.600) | – | – | – | 10 / – | 3 | 0.50 |"
    assert line[1].startswith("| classical recipe | 0.300 | ")
