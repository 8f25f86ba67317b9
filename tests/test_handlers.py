"""Handlers on a two-line engine: what they write, when, and what they say."""

from __future__ import annotations

import csv
import errno
import io
import json
import logging
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from PIL import Image
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.handlers import (
    CyclePanels,
    InstanceScores,
    LossTable,
    PolarityWatch,
    RunRecord,
    TensorBoardLog,
    TermProgressBar,
    correlation,
)
from scripts.report import read_losses
from scripts.representation import Affinity, Contour, Foreground, Representation, SignedDistance
from scripts.volume_io.replacement import write_table, write_text
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn


def engine_of(outputs: Sequence[Any], rank: int = 0, panels: dict[str, Any] | None = None, start: int = 0) -> Any:
    """An engine whose n-th iteration, counted from 1, has the n-th output; `run` starts after iteration `start`."""
    engine: Any = Engine(lambda engine, batch: outputs[engine.state.iteration - 1])
    engine.state.rank, engine.state.panels = rank, panels or {}
    engine.state.epoch_length, engine.state.max_epochs = len(outputs), 1
    engine.state.iteration, engine.state.epoch = start, 0
    engine.go = lambda: engine.run(range(len(outputs)), max_epochs=1, epoch_length=len(outputs))
    return engine


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- losses ----------------------------------------------------------------------------------------------------------
STAGES = [{"loss": 1.0}, {"loss": 3.0}, {"loss": 5.0, "cycle_x": torch.tensor(1.0)}, {"loss": 7.0, "cycle_x": 2.0}]


def test_the_loss_table_has_means_and_leaves_out_what_a_stage_lacks(tmp_path: Path) -> None:
    engine = engine_of([*STAGES, {"loss": 9.0, "cycle_x": 4.0}])
    LossTable(str(tmp_path / "new" / "losses.csv"), interval=2).attach(engine)
    engine.go()
    assert rows_of(tmp_path / "new" / "losses.csv") == [
        {"iteration": "2", "loss": "2.0", "cycle_x": ""},
        {"iteration": "4", "loss": "6.0", "cycle_x": "1.5"},
        {"iteration": "5", "loss": "9.0", "cycle_x": "4.0"},  # what is left at the end
    ]


def test_a_resumed_loss_table_goes_on_from_the_iteration_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    write_table(path, [{"iteration": 1, "loss": 10.0}, {"iteration": 2, "loss": 20.0}, {"iteration": 3, "loss": 30.0}])
    engine = engine_of(STAGES, start=2)
    LossTable(str(path), interval=1).attach(engine)
    engine.go()
    assert [(row["iteration"], row["loss"]) for row in rows_of(path)] == [
        ("1", "10.0"),
        ("2", "20.0"),
        ("3", "5.0"),
        ("4", "7.0"),
    ]


def test_a_training_from_the_start_replaces_the_loss_table_and_rank_1_writes_none(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    write_table(path, [{"iteration": 1, "loss": 10.0}])
    for rank, expected in ((1, ["1"]), (0, ["2", "4"])):
        engine = engine_of(STAGES, rank)
        LossTable(str(path), interval=2).attach(engine)
        engine.go()
        assert [row["iteration"] for row in rows_of(path)] == expected


def train_table(path: Path, start: int, names: Sequence[str]) -> list[int]:
    """A training that writes a row an iteration from `start` on, of these columns; the sizes of the file meanwhile."""
    outputs = [{name: float(number) for name in columns.split()} for number, columns in enumerate(names, 1)]
    engine, sizes = engine_of(outputs, start=start), []
    LossTable(str(path), interval=1).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: sizes.append(path.stat().st_size))
    engine.go()
    return sizes


def test_rows_are_added_to_a_table_and_the_file_is_written_once_more_for_a_new_column_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, written = tmp_path / "losses.csv", []
    original = write_table
    monkeypatch.setattr("scripts.handlers.table.write_table", lambda *given: (written.append(1), original(*given)))
    sizes = train_table(path, 0, ["a"] * 3 + ["a b"] * 2 + ["b"] * 2 + ["a"] * 93)
    assert len(written) == 2  # the first row, and the first with b
    assert np.diff(sizes).max() < 30
    rows = rows_of(path)
    assert [row["iteration"] for row in rows] == [str(number) for number in range(1, 101)]
    assert [(row["a"], row["b"]) for row in rows[2:7]] == [
        ("3.0", ""), ("4.0", "4.0"), ("5.0", "5.0"), ("", "6.0"), ("", "7.0")
    ]  # fmt: skip


@pytest.mark.parametrize("torn", ["", "4,4.0", "4,", "4", "\x00\x00\x00", "4,4.0\r"])
def test_a_line_that_kill_9_cut_short_is_repaired_and_left_out_of_the_picture(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    train_table(path, 0, ["a"] * 3)
    path.write_bytes(path.read_bytes() + torn.encode())
    assert read_losses(path)["a"][0].tolist() == [1, 2, 3]
    train_table(path, 3, ["a"] * 3 + ["a b"] * 2)
    assert [(row["iteration"], row["a"], row["b"]) for row in rows_of(path)] == [
        ("1", "1.0", ""), ("2", "2.0", ""), ("3", "3.0", ""), ("4", "4.0", "4.0"), ("5", "5.0", "5.0")
    ]  # fmt: skip
    path.unlink()  # by somebody, before it goes on
    train_table(path, 3, ["a"] * 4)
    assert [row["iteration"] for row in rows_of(path)] == ["4"]


def test_a_row_that_cannot_be_written_leaves_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "losses.csv"
    train_table(path, 0, ["a"] * 2)
    before = path.read_bytes()

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            path.write_bytes(before + text[:2].encode())
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scripts.handlers.table.open", lambda *_, **__: Full(), raising=False)
    with pytest.raises(InputError, match=r"losses\.csv cannot be written: No space left"):
        train_table(path, 2, ["a"] * 3)
    assert path.read_bytes() == before


def test_the_bar_shows_iterations_and_losses(capfd: pytest.CaptureFixture[str]) -> None:
    engine = engine_of(STAGES, start=1)
    bar = TermProgressBar("training", terms=("cycle_x",))
    bar.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda _: capfd.readouterr())
    engine.go()
    assert (bar.bar.initial, bar.bar.n, bar.bar.total) == (1, 4, 4)
    last = capfd.readouterr().err.split("\r")[-1]
    assert "training: 100%" in last
    assert "loss=7.000, cycle_x=2.000" in last


def test_the_bar_of_another_rank_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    engine = engine_of(STAGES, rank=1)
    TermProgressBar().attach(engine)
    engine.go()
    assert capfd.readouterr().err == ""


def test_values_are_read_once_an_interval_for_a_gpu_would_wait_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    for name in ("item", "tolist", "__float__", "__bool__", "__format__", "numpy"):
        original = getattr(torch.Tensor, name)

        def spy(tensor: torch.Tensor, *rest: Any, name: str = name, original: Any = original) -> Any:
            reads.append(name)
            return original(tensor, *rest)

        monkeypatch.setattr(torch.Tensor, name, spy)
    outputs = [{"loss": torch.tensor(1.0), "cycle_x": torch.tensor(2.0)}] * 20
    engine = engine_of(outputs, panels=panels())
    LossTable(str(tmp_path / "losses.csv"), interval=10).attach(engine)
    PolarityWatch(window=10).attach(engine)
    engine.go()
    assert len(reads) == 2 * (1 + 3)  # a table's row, and three correlations
    reads.clear()
    bar = engine_of(outputs)
    TermProgressBar(terms=("cycle_x",), interval=10).attach(bar)
    bar.go()
    assert reads.count("__format__") == 2 * 2


# ---- pictures --------------------------------------------------------------------------------------------------------
def panels(**signs: int) -> dict[str, torch.Tensor]:
    """Images and maps of one step that follow one pattern, or where `signs` is -1, its inverse."""
    torch.manual_seed(0)
    pattern = torch.rand(1, 4, 16, 16) * 2 - 1
    names = ("x", "fake_y", "rec_x", "y", "fake_x", "rec_y")
    result = {name: signs.get(name, 1) * pattern for name in names}
    for name in ("maps_x", "maps_y", "maps_rec_y"):
        result[name] = ((signs.get(name, 1) * pattern + 1) / 2).repeat(3, 1, 1, 1)
    return result


def test_tensorboard_shows_losses_rates_scores_and_pictures_each_under_a_name_of_its_own(tmp_path: Path) -> None:
    validator = engine_of([0.0])
    validator.state.metrics = {"x_ap50": 0.5}
    for start, count in ((0, 5), (3, 6)):  # stopped after 5 iterations, resumed from 3
        engine = engine_of([{"cycle_x": torch.tensor(1.0), "cycle_y": 2.0}] * count, panels=panels(), start=start)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1 * count)
        engine.optimizers = {"warm_up": optimizer}
        log = TensorBoardLog(str(tmp_path), [validator, None], interval=2)
        log.attach(engine)
        representation = Representation([Foreground(), Contour(), SignedDistance()])
        CyclePanels(str(tmp_path), representation, interval=2, log=log).attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=start + 2), lambda _: validator.go())
        engine.go()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["images"]) == ["panel/cycle_x", "panel/cycle_y"]
    assert [image.step for image in events.Images("panel/cycle_x")] == [2, 4, 6]
    # three images and three maps of X; three images and twice three maps of Y
    width_x, width_y = (events.Images(f"panel/cycle_{domain}")[0].width for domain in "xy")
    assert width_y / width_x == pytest.approx(9 / 6, rel=0.02)
    names = ["learning_rate/warm_up", "loss/cycle_x", "loss/cycle_y", "validation/x_ap50"]
    assert sorted(events.Tags()["scalars"]) == names
    points = {name: [(point.step, round(point.value, 3)) for point in events.Scalars(name)] for name in names}
    assert points["loss/cycle_y"] == [(2, 2.0), (4, 2.0), (6, 2.0)]
    assert points["learning_rate/warm_up"] == [(2, 0.5), (4, 0.6), (6, 0.6)]
    assert points["validation/x_ap50"] == [(2, 0.5), (5, 0.5)]


def test_panels_name_every_channel_of_a_map(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[tuple[list[str], int]] = []

    def draw(rows: Any) -> np.ndarray:
        drawn.extend((name.split(" | "), len(volumes)) for name, volumes in rows)
        return np.zeros((3, 8, 8), np.float32)

    monkeypatch.setattr("scripts.handlers.panel.cycle_panel", draw)
    engine = engine_of([0.0], panels=panels())
    CyclePanels(str(tmp_path), Representation([Affinity()]), interval=1).attach(engine)
    engine.go()
    captions, count = drawn[0]
    assert captions == ["X", "X → Y", "X → Y → X", *(f"affinity {number} of X" for number in (1, 2, 3))]
    assert count == len(captions)


def test_panels_of_the_warm_up_show_what_there_is_and_rank_1_writes_none(tmp_path: Path) -> None:
    warm_up = {name: volume for name, volume in panels().items() if name in ("x", "rec_x", "maps_x")}
    for rank in (0, 1):
        engine = engine_of([0.0], rank, panels=warm_up)
        representation = Representation([Foreground(), Contour(), SignedDistance()])
        CyclePanels(str(tmp_path / str(rank)), representation, interval=1).attach(engine)
        engine.go()
    assert [path.name for path in (tmp_path / "0" / "panels").iterdir()] == ["cycle_x_0000001.jpg"]
    assert not (tmp_path / "1").exists()


def numbers_of(folder: Path, cycle: str = "x") -> list[int]:
    return sorted(int(path.stem.rpartition("_")[2]) for path in (folder / "panels").glob(f"cycle_{cycle}_*.jpg"))


def write_panels(folder: Path, count: int, **options: int) -> None:
    engine = engine_of([0.0] * count, panels=panels(), start=options.pop("start", 0))
    representation = Representation([Foreground(), Contour(), SignedDistance()])
    CyclePanels(str(folder), representation, **{"interval": 1, **options}).attach(engine)
    engine.go()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of eight pixels."""
    monkeypatch.setattr("scripts.handlers.panel.cycle_panel", lambda rows: np.zeros((3, 8, 8), np.float32))


def test_panels_are_written_as_files_too(tmp_path: Path) -> None:
    write_panels(tmp_path, 2)
    assert numbers_of(tmp_path) == numbers_of(tmp_path, "y") == [1, 2]
    with Image.open(tmp_path / "panels" / "cycle_x_0000001.jpg") as picture:
        assert picture.size[0] > 6 * 160
    assert not list((tmp_path / "panels").glob(".*"))


@pytest.mark.usefixtures("quick")
def test_files_of_panels_are_spread_evenly_and_never_too_many(tmp_path: Path) -> None:
    write_panels(tmp_path / "few", 13, keep=4)
    assert numbers_of(tmp_path / "few") == [4, 8, 12, 13]
    write_panels(tmp_path / "many", 16, keep=4)
    assert numbers_of(tmp_path / "many") == [4, 8, 12, 16]
    write_panels(tmp_path / "many", 24, start=16, interval=3, keep=4)  # resumed with another interval
    assert numbers_of(tmp_path / "many") == [12, 18, 21, 24]


@pytest.mark.usefixtures("quick")
def test_panels_of_iterations_that_are_run_again_go(tmp_path: Path) -> None:
    write_panels(tmp_path, 6)
    write_panels(tmp_path, 4, start=3)
    assert numbers_of(tmp_path) == [1, 2, 3, 4]
    write_panels(tmp_path, 2)
    assert numbers_of(tmp_path) == [1, 2]


# ---- the record of a run ---------------------------------------------------------------------------------------------
def record(folder: Path, start: int = 0, rank: int = 0, **options: Any) -> list[dict[str, Any]]:
    engine = engine_of([0.0] * 4, rank, start=start)
    engine.warm_up_iterations = 2
    RunRecord(str(folder), **options).attach(engine)
    engine.go()
    return json.loads((folder / "run.json").read_text())["runs"] if (folder / "run.json").exists() else []


def test_a_run_is_recorded_and_a_resumed_one_beside_it(tmp_path: Path) -> None:
    [first] = record(tmp_path, seed=5, volumes={"label_x": ["a.tif", "b.tif"]})
    assert (first["seed"], first["volumes"]) == (5, {"label_x": ["a.tif", "b.tif"]})
    assert (first["iterations"], first["last_iteration"], first["warm_up_iterations"]) == (4, 4, 2)
    assert first["started"] <= first["ended"]
    assert first["versions"]["torch"] == version("torch") and "bundle" in first["versions"]
    assert first["machine"]["cores"] >= 1 and first["machine"]["device"] == "cpu"
    assert [run["seed"] for run in record(tmp_path, start=2, seed=6)] == [5, 6]
    assert [run["seed"] for run in record(tmp_path, seed=7)] == [7]
    (tmp_path / "run.json").write_text("{")
    assert [run["seed"] for run in record(tmp_path, start=2, seed=8)] == [8]
    assert record(tmp_path / "other", rank=1) == []


def test_the_command_is_recorded_as_it_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert record(tmp_path)[0]["command"] is None  # pytest is no command of the bundle
    typed = ["/bin/python3", "-m", "monai.bundle", "run", "training", "--config_file", "['a.yaml']", "--seed", "$1 + 1"]
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setenv("SOME_TOKEN", "do-not-tell")
    command = record(tmp_path)[0]["command"]
    assert command == """python -m monai.bundle run training --config_file "['a.yaml']" --seed '$1 + 1'"""
    assert shlex.split(command)[1:] == typed[1:]
    assert "do-not-tell" not in (tmp_path / "run.json").read_text()
    assert sys.executable not in (tmp_path / "run.json").read_text()


def test_the_state_of_the_code_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    shutil.copy(BUNDLE / "configs" / "metadata.json", tmp_path / "configs")
    monkeypatch.setattr("scripts.handlers.run_record.BUNDLE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert record(tmp_path / "out")[0]["code"] is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "configs"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    code = record(tmp_path / "out")[0]["code"]
    assert len(code["commit"]) == 40 and code["changed"] == []
    (tmp_path / "configs" / "metadata.json").write_text((tmp_path / "configs" / "metadata.json").read_text() + "\n")
    assert record(tmp_path / "out")[0]["code"]["changed"] == ["configs/metadata.json"]


def test_the_configuration_is_the_merged_one(tmp_path: Path) -> None:
    parser = ConfigParser({"seed": 0, "size": "$2 * @seed", "record": {"_target_": "scripts.handlers.RunRecord"}})
    parser.update({"seed": 3, "record::output_dir": str(tmp_path), "record::seed": "@seed"})
    engine = engine_of([0.0])
    parser.get_parsed_content("record").attach(engine)
    engine.go()
    written = ConfigParser()
    written.read_config(str(tmp_path / "configuration.yaml"))
    assert (written.get_parsed_content("size"), written["record"]["seed"]) == (6, "@seed")


# ---- polarity --------------------------------------------------------------------------------------------------------
def warnings_of(panels: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture, **options: Any) -> list[str]:
    engine = engine_of([0.0] * 12, panels=panels, rank=options.pop("rank", 0))
    PolarityWatch(window=4, **options).attach(engine)
    with caplog.at_level(logging.WARNING):
        engine.go()
    return caplog.messages


def test_healthy_generators_are_not_commented_on(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(panels(), caplog) == []


def test_an_inverted_translation_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    [message] = warnings_of(panels(fake_x=-1), caplog)
    assert message.startswith("iteration 4: Y's translated image is inverted: correlation with Y -1.00 over the last 4")


def test_a_swapped_foreground_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    [message] = warnings_of(panels(maps_y=-1), caplog)
    assert "Y's foreground map follows the dark parts of Y (correlation -1.00), X's the bright parts (1.00)" in message
    assert "nuclei and background may be swapped" in message


def test_dark_nuclei_in_both_domains_are_healthy(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(panels(maps_x=-1, maps_y=-1), caplog) == []


@pytest.mark.parametrize("case", ["short", "warm-up", "constant", "rank 1"])
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_no_verdict_without_a_full_window_of_the_adversarial_stage(case: str, caplog: pytest.LogCaptureFixture) -> None:
    shown = panels(fake_x=-1)
    if case == "constant":
        shown["fake_x"] = torch.zeros_like(shown["fake_x"])
    if case == "warm-up":
        shown = {"x": shown["x"], "rec_x": shown["rec_x"], "maps_x": shown["maps_x"]}
    engine = engine_of([0.0] * (3 if case == "short" else 12), int(case == "rank 1"), shown)
    PolarityWatch(window=4).attach(engine)
    engine.go()
    assert caplog.messages == []


def test_correlation_is_that_of_pearson() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5))
    expected = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert correlation(torch.as_tensor(a), torch.as_tensor(b)) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(correlation(torch.zeros(3), torch.arange(3.0)))


# ---- scores ----------------------------------------------------------------------------------------------------------
def scored(balls: np.ndarray, found: np.ndarray, name: str) -> dict[str, Any]:
    truth = MetaTensor(torch.as_tensor(balls.astype(np.int32))[None], meta={"filename_or_obj": f"folder/{name}"})
    return {"label": truth, "instances": torch.as_tensor(found.astype(np.int32))[None]}


def test_scores_of_every_volume_and_their_mean_are_written(tmp_path: Path, balls: np.ndarray) -> None:
    missed = np.where(balls > 2, 0, balls)
    engine = engine_of([[scored(balls, balls, "a.tif")], [scored(balls, missed, "b.tif")]])
    InstanceScores(output_dir=str(tmp_path / "out"), prefix="y_").attach(engine)
    engine.go()
    metrics = engine.state.metrics
    assert set(metrics) == {"y_f1_50", "y_ap50", "y_ap75", "y_dice"}
    assert metrics["y_ap50"] == pytest.approx((1 + 2 / 4) / 2)
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (stored["ap50"], stored["found"], stored["present"]) == (metrics["y_ap50"], 3, 4)
    assert [volume["volume"] for volume in stored["volumes"]] == ["a.tif", "b.tif"]
    table = rows_of(tmp_path / "out" / "metrics.csv")
    assert [(row["volume"], float(row["ap50"]), row["found"]) for row in table] == [
        ("a.tif", 1, "4"),
        ("b.tif", 0.5, "2"),
    ]


def test_scores_are_those_of_the_last_epoch_and_rank_1_writes_none(tmp_path: Path, balls: np.ndarray) -> None:
    epochs = [[scored(balls, 0 * balls, "a.tif")], [scored(balls, balls, "a.tif")]]
    engine = engine_of(epochs, rank=1)
    InstanceScores(output_dir=str(tmp_path / "out"), names=("ap50",)).attach(engine)
    engine.state.epoch_length, engine.state.max_epochs = 1, 2
    engine.run([0])
    assert engine.state.metrics == {"ap50": 1.0}
    assert not (tmp_path / "out").exists()


def test_labels_that_were_loaded_as_floats_are_scored_too(balls: np.ndarray) -> None:
    item = {"label": torch.as_tensor(balls.astype(np.float32))[None], "instances": torch.as_tensor(balls[None] * 1.0)}
    item["instances"] = item["instances"].to(torch.int32)
    engine = engine_of([[item]])
    InstanceScores().attach(engine)
    engine.go()
    assert engine.state.metrics["f1_50"] == 1.0


def test_files_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.json", "old")
    write_table(tmp_path / "a.csv", [{"n": 1}])
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    for write, name, content in ((write_text, "a.json", "new"), (write_table, "a.csv", [{"n": 2}])):
        with pytest.raises(InputError, match="killed"):
            write(tmp_path / name, content)
    assert (tmp_path / "a.json").read_text() == "old"
    assert rows_of(tmp_path / "a.csv") == [{"n": "1"}]
