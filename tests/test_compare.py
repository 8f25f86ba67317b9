"""The comparison: what it runs, what it does not run again, what it refuses, and its table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.command import BUNDLE
from scripts.compare import METHODS, Run, Target, compare, summarise
from scripts.errors import InputError


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


@pytest.mark.slow
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
    for name in ("result.json", "trained"):
        (out / "source_only" / "1" / name).unlink()
    compare(methods="source_only", seeds=1, **given)
    assert (out / "source_only" / "1" / "result.json").is_file()
    with pytest.raises(InputError, match=r"other settings \(overrides\)"):
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


@pytest.mark.slow
def test_without_labels_of_y_there_is_a_picture_and_no_score(given: dict[str, Any]) -> None:
    compare(methods="classical", **{key: value for key, value in given.items() if key != "label_y"})
    with open(Path(given["output_dir"]) / "results.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["ap50"] == ""
    assert float(row["found"]) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": "cysgan,magic"}, "expected some of cysgan"),
        ({"methods": "oracle", "label_y": None}, "labels of Y"),
        ({"config": "nowhere.yaml"}, "no file nowhere.yaml"),
        ({"image_x": "nowhere.tif"}, "nowhere.tif"),
        ({"seed": 3}, "give --seeds"),
        ({"methods": "no_input_defects", "random_transforms": None}, "leave one of the two out"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    given: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare(**{**given, **change})
    assert not Path(given["output_dir"]).exists()


def test_inference_gets_what_it_knows_of_an_overlay(given: dict[str, Any], tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("window: [8, 16, 16]\ntrain::trainer::amp: true\nbetas: [0.5, 0.9]\n")
    run = Run(tmp_path, METHODS["cysgan"], 0, [overlay], {}, Target(["y.tif"], None, {}), 4)
    [written] = run._overlays_of_inference()
    assert yaml.safe_load(written.read_text()) == {"window": [8, 16, 16]}


def test_the_table_has_the_mean_and_the_range_of_the_seeds() -> None:
    rows = [
        {"method": "CySGAN", "seed": s, "ap50": a, "found": 10, "hours": 0.5} for s, a in enumerate((0.2, 0.4, 0.6))
    ]
    line = summarise([*rows, {"method": "classical recipe", "seed": 0, "ap50": 0.3}]).splitlines()[2:]
    assert line[0] == "| CySGAN | 0.400 (0.200–0.600) | – | – | – | 10 / – | 3 | 0.50 |"
    assert line[1].startswith("| classical recipe | 0.300 | ")
