"""The handler that judges a training: which weights it keeps on the way, and which become model.pt."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from scripts.errors import InputError
from scripts.judge import JudgeHandler, Tally, estimate
from scripts.judge.candidate import Judgement
from scripts.plan.file import read_plan
from scripts.volume_io import write_volume
from torch import nn

from test_handlers import engine_of

Run = Callable[..., ConfigWorkflow]


def judgement(name: str, again: float, vetoes: tuple[str, ...] = ()) -> Judgement:
    """Of 40 tiles with 20 instances each, of which so many are found again."""
    found = np.random.default_rng(0).binomial(18, again, 40).astype(float)
    tally = Tally(np.tile(np.stack([found, np.full(40, 20.0)], axis=1)[:, None], (1, 3, 1)), np.ones((40, 2)))
    return Judgement(name, tally, estimate(tally), vetoes, [np.ones((1, 1, 1), int)])


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., JudgeHandler]:
    """Train a single weight, which counts the iterations; the scores are given by the value of the weight."""
    solidities: list[float | None] = []

    def run(scores: dict[int, float], vetoed: tuple[int, ...] = (), start: int = 0, **options: Any) -> JudgeHandler:
        def judge_model(path: Path, volumes: Any, name: str, expected: float | None) -> Judgement:
            solidities.append(expected)
            value = int(torch.load(path, weights_only=True)["weight"])
            return judgement(name, scores[value], ("nothing is found",) if value in vetoed else ())

        monkeypatch.setattr("scripts.judge.handler.judge_model", judge_model)
        monkeypatch.setattr("scripts.judge.handler.predictor_of", lambda path: path)
        monkeypatch.setattr("scripts.judge.handler.list_volumes", lambda image: [])
        network, engine = nn.Linear(1, 1, bias=False), engine_of([None] * 10, options.pop("rank", 0), start=start)
        engine.stage_end, engine.stopped = options.pop("stage_end", 2), options.pop("stopped", False)

        @engine.on(Events.ITERATION_COMPLETED)
        def _(engine: Any) -> None:
            network.weight.data.fill_(engine.state.iteration)
            if engine.state.iteration == engine.stage_end:
                torch.save(network.state_dict(), tmp_path / "source_only.pt")

        engine.add_event_handler(Events.COMPLETED, lambda _: torch.save(network.state_dict(), tmp_path / "model.pt"))
        places = {"folder": str(tmp_path), "model_path": str(tmp_path / "model.pt")}
        handler = JudgeHandler("y.tif", network, **places, source_only=str(tmp_path / "source_only.pt"), **options)
        handler.attach(engine)
        engine.go()
        handler.solidities = solidities  # type: ignore[attr-defined]
        return handler

    return run


def weight(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["weight"])


def kept(folder: Path) -> list[int]:
    return [weight(path) for path in sorted(folder.glob("candidate_*.pt"))]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "judge.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_weights_that_are_clearly_better_become_the_model(
    train: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train({2: 0.5, 4: 0.6, 6: 0.9, 8: 0.4, 10: 0.3})
    assert kept(tmp_path) == [4, 6, 8, 10]  # evenly over what follows the warm-up
    assert weight(tmp_path / "model.pt") == 6
    assert [row["name"] for row in rows(tmp_path)] == ["source only", *(f"iteration {n}" for n in (4, 6, 8, 10))]
    assert [row["chosen"] for row in rows(tmp_path)] == ["", "", "yes", "", ""]
    assert "model.pt now holds iteration 6: its score is higher than the one of source only" in caplog.text
    found = json.loads((tmp_path / "judge.json").read_text())
    assert found["chosen"] == "iteration 6"
    assert len(found["candidates"]) == 5


def test_the_source_alone_stays_where_nothing_is_clearly_better(train: Any, tmp_path: Path) -> None:
    train({2: 0.8, 4: 0.8, 6: 0.7, 8: 0.4, 10: 0.3})
    assert weight(tmp_path / "model.pt") == 2
    train({2: 0.5, 4: 0.5, 6: 0.9, 8: 0.4, 10: 0.3}, vetoed=(6,))
    assert weight(tmp_path / "model.pt") == 2


def test_candidates_are_compared_with_the_solidity_of_the_labels_of_x(train: Any, tmp_path: Path) -> None:
    label = np.zeros((8, 16, 16), np.uint8)
    label[2:6, 2:8, 2:8], label[2:6, 9:15, 9:15] = 1, 2
    write_volume(tmp_path / "labelX.tif", label)
    scores = {n: 0.5 for n in range(11)}
    assert train(scores, label_x=str(tmp_path / "labelX.tif")).solidities == pytest.approx([1] * 5)
    assert train(scores).solidities[5:] == [None] * 5


def test_without_a_warm_up_the_end_of_the_training_stays(train: Any, tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1, bias=False).state_dict(), tmp_path / "source_only.pt")  # of an earlier training
    train({n: 0.5 for n in (2, 5, 7, 10)}, stage_end=0)
    assert weight(tmp_path / "model.pt") == 10
    assert [row["name"] for row in rows(tmp_path)] == [f"iteration {n}" for n in (10, 7, 5, 2)]


@pytest.mark.parametrize(
    "options", [{"keep": "last"}, {"stopped": True}, {"rank": 1}, {"stage_end": 10}], ids=lambda one: next(iter(one))
)
def test_nothing_is_judged_where_there_is_nothing_to_choose(train: Any, tmp_path: Path, options: Any) -> None:
    train({}, **options)
    assert weight(tmp_path / "model.pt") == 10
    assert not (tmp_path / "judge.csv").exists()


def test_what_another_training_kept_is_no_candidate(train: Any, tmp_path: Path) -> None:
    scores = {n: 0.5 for n in range(11)}
    train(scores)
    # Resumed after iteration 6 with other numbers: what was kept until then stays, later ones are of another course.
    train(scores, start=6, candidates=2)
    assert kept(tmp_path) == [4, 6, 10]
    (tmp_path / "candidate_notes.pt").write_text("of the user")
    train(scores, candidates=1)
    assert [path.name for path in sorted(tmp_path.glob("candidate_*"))] == [
        "candidate_0000010.pt",
        "candidate_notes.pt",
    ]


def test_what_is_to_be_kept_is_one_of_two_words() -> None:
    with pytest.raises(InputError, match="keep: found best"):
        JudgeHandler("y.tif", None, ".", "model.pt", "source_only.pt", keep="best")


def test_a_training_ends_with_what_was_chosen_and_a_complete_one_is_judged_again(
    run_here: Run, volumes: Path, tmp_path: Path
) -> None:
    names = {"image_x": "imageX_0.tif", "label_x": "labelX_0.tif", "image_y": "imageY.tif"}
    given: dict[str, Any] = {key: volumes / name for key, name in names.items()}
    given |= {"output_dir": tmp_path / "a run", "model_path": tmp_path / "model.pt", "keep": "better"}
    given |= {"window": [16, 32, 32], "train::judge::size": [16, 32, 32], "train::judge::crops": 1}  # small, for speed
    run_here("training", "train", **given)
    table, model = rows(tmp_path / "a run"), (tmp_path / "model.pt").read_bytes()
    files = {
        "source only": "source_only.pt",
        "iteration 3": "candidate_0000003.pt",
        "iteration 4": "candidate_0000004.pt",
    }
    assert [row["name"] for row in table] == list(files)
    chosen = next(row["name"] for row in table if row["chosen"])
    assert model == (tmp_path / "a run" / files[chosen]).read_bytes()
    plan = read_plan(tmp_path / "model.pt")
    assert plan is not None
    # Killed before model.pt was replaced: the newest weights are in its place.
    (tmp_path / "a run" / "judge.csv").unlink()
    (tmp_path / "a run" / files["iteration 4"]).replace(tmp_path / "model.pt")
    run_here("training", "train", **given, resume="auto")
    assert (tmp_path / "model.pt").read_bytes() == model
    timeless = [{**row, "seconds": ""} for row in table]
    assert [{**row, "seconds": ""} for row in rows(tmp_path / "a run")] == timeless
