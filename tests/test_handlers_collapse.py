"""The watch on collapse: its statistics by hand, its verdicts on short trainings recorded by tools/collapse.py."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scripts.errors import InputError
from scripts.handlers import CollapseWatch, OffendingBatch, PolarityWatch, checkerboard, lost_share, training_statistics
from scripts.volume_io.replacement import write_table

from test_handlers import engine_of, rows_of

RECORDED = json.loads(Path(__file__).with_name("collapse.json").read_text())
HEALTHY = {
    "discriminator_x": 0.5,
    "contrast_fake_x": 0.9,
    "copied_fake_x": 0.7,
    "checkerboard_fake_x": 1.1,
    "foreground_y": 0.2,
    "lost_y": 0.1,
    "invented_y": 0.1,
}


def rows(name: str) -> list[dict[str, float]]:
    columns = RECORDED[name]
    return [
        {k: math.nan if v is None else v for k, v in zip(columns, values, strict=True) if k != "iteration"}
        for values in zip(*columns.values(), strict=True)
    ]


def told(looks: list[dict[str, float]], **options: Any) -> set[str]:
    watch = CollapseWatch(**options)
    for row in looks:
        watch.take(row)
    return watch.warned


# ---- recorded trainings ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", sorted(name for name in RECORDED if name.startswith("healthy")))
def test_a_healthy_training_is_not_commented_on(case: str) -> None:
    looks = rows(case)
    assert len(looks) >= CollapseWatch().window
    assert told(looks) == set()


EXPECTED = {
    "too_fast": {"contrast_fake_y"},
    "frozen": {"discriminator_x", "discriminator_y", "discriminator_s"},
    "frozen_discriminator_s": {"discriminator_s"},
    "constant": {"contrast_fake_x", "contrast_fake_y"},
    "copied": {"copied_fake_x", "copied_fake_y"},
    "checkered": {"checkerboard_fake_x", "checkerboard_fake_y"},
}


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_every_training_that_was_broken_on_purpose_is_told(case: str) -> None:
    assert EXPECTED[case] <= told(rows(case))


@pytest.mark.parametrize("case", ["inverted", "inverted_microscopy"])
def test_an_inversion_is_left_to_the_watch_on_polarity(case: str) -> None:
    correlations = [row["copied_fake_x"] for row in rows(case)]
    assert np.mean(correlations[:5]) < -PolarityWatch().threshold  # its window: 50 iterations, five looks
    assert told(rows(case)) == set()


# ---- verdicts --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("discriminator_x", 0.001, "discriminator_x has been right about nearly everything"),
        ("discriminator_x", 1.2, "discriminator_x has been wrong"),
        ("contrast_fake_x", 0.01, "Y's translated image is almost constant"),
        ("contrast_fake_x", 2.5, "Y's translated image is saturated"),
        ("copied_fake_x", 0.999, "Y's translated image is a copy of its input"),
        ("checkerboard_fake_x", 50.0, "Y's translated image has a checkerboard"),
        ("foreground_y", 0.0, "Y's foreground map is empty"),
        ("foreground_y", 0.97, "Y's foreground map is full"),
        ("lost_y", 0.9, "90% of Y's nuclei are missing"),
        ("invented_y", 0.9, "90% of the nuclei in the maps of Y's translation are not in Y's own"),
    ],
)
def test_each_cause_is_said_in_words_and_once(name: str, value: float, words: str) -> None:
    watch = CollapseWatch(window=4, patience=4)
    texts = [text for _ in range(20) for text in watch.take(HEALTHY | {name: value})]
    assert len(texts) == 1
    assert texts[0].startswith(words)
    assert "over 40 iterations" in texts[0]


def test_nothing_is_said_before_patience_ends_nor_of_what_recovered() -> None:
    watch = CollapseWatch(window=4, patience=8)
    bad = HEALTHY | {"contrast_fake_x": 0.0}
    assert [watch.take(row) for row in [bad] * 4 + [HEALTHY] * 10] == [[]] * 14


def test_a_limit_can_be_changed_or_taken_away() -> None:
    bad = [HEALTHY | {"foreground_y": 0.0}] * 30
    assert told(bad) == {"foreground_y"}
    assert told(bad, limits={"foreground": [None, 0.9]}) == set()


def test_a_limit_for_no_statistic_is_refused() -> None:
    with pytest.raises(InputError, match=r"limits: foregrund; expected some of discriminator, contrast"):
        CollapseWatch(limits={"foregrund": (0.0, 1.0)})


def test_statistics_that_are_mostly_unknown_are_not_judged() -> None:
    looks = [HEALTHY | {"lost_y": math.nan}] * 15 + [HEALTHY | {"lost_y": 1.0}] * 5
    assert told(looks) == set()


# ---- statistics ------------------------------------------------------------------------------------------------------
def smooth(seed: int = 0) -> torch.Tensor:
    # Means of two voxels: their spectrum falls evenly, that of three would have a gap and rise after it.
    noise = torch.randn(17, 33, 33, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool3d(noise[None, None], 2, 1)[0, 0]


@pytest.mark.parametrize("period", [2, 4])
def test_a_pattern_of_the_stride_stands_out_at_its_period(period: int) -> None:
    wave = torch.cos(2 * math.pi * torch.arange(32) / period)
    assert checkerboard(smooth() + 0.6 * wave, period) > 8 > 4 > checkerboard(smooth(), period)


def test_thin_and_constant_images_have_no_spectrum() -> None:
    assert math.isnan(checkerboard(torch.zeros(16, 32, 32), 2))
    assert math.isnan(checkerboard(torch.rand(1, 3, 2), 2))


def test_objects_of_which_less_than_a_tenth_is_left_are_lost() -> None:
    before, after = torch.zeros(2, 4, 16, 16)
    before[:, :4, :4], before[:, 8:12, 8:12], before[:, 14, 14] = 1, 1, 1  # the last is a speck of 4 voxels
    after[:, :4, :4] = 1
    assert lost_share(before, after) == 0.5
    assert lost_share(after, before) == 0
    assert math.isnan(lost_share(torch.zeros(4, 4, 4), before[:, :4, :4]))


def stage() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    terms = ("segmentation_x", "adversarial_x", "discriminator_x", "discriminator_s")
    volumes = {"x": smooth(1), "y": smooth(2), "fake_x": smooth(2) / 2, "fake_y": 0 * smooth()}
    maps = {name: smooth().gt(0.2) for name in ("maps_x", "maps_y", "maps_rec_y")}
    return {n: torch.tensor(0.5) for n in terms}, {n: v[None].float() for n, v in (volumes | maps).items()}


def test_statistics_are_of_what_the_stage_trains() -> None:
    output, panels = stage()
    found = training_statistics(output, panels)
    assert found["copied_fake_x"] == pytest.approx(1, abs=1e-5)
    assert found["contrast_fake_y"] == 0
    assert math.isnan(found["copied_fake_y"])
    assert found["foreground_y"] == pytest.approx(float((smooth() > 0.2).float().mean()))
    assert (found["lost_y"], found["invented_y"]) == (0, 0)
    assert "discriminator_s" not in found  # no generator plays against it
    output.pop("segmentation_x")
    assert "foreground_y" not in training_statistics(output, panels)
    assert set(training_statistics({}, {"x": panels["x"]})) == set()


def test_the_handler_warns_and_writes_a_table_on_rank_0_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output, panels = stage()
    for rank in (1, 0):
        engine = engine_of([output] * 12, rank, panels)
        CollapseWatch(2, window=3, patience=3, path=str(tmp_path / f"{rank}.csv")).attach(engine)
        with caplog.at_level(logging.WARNING):
            engine.go()
        assert bool(caplog.messages) == (rank == 0)
    assert caplog.messages[0].startswith("iteration 6: ")
    assert [row["iteration"] for row in rows_of(tmp_path / "0.csv")] == ["2", "4", "6", "8", "10", "12"]
    assert not (tmp_path / "1.csv").exists()


def test_a_resumed_table_goes_on_from_the_iteration_of_the_checkpoint(tmp_path: Path) -> None:
    (output, panels), path = stage(), tmp_path / "collapse.csv"
    write_table(path, [{"iteration": number, "contrast_fake_x": number / 10} for number in (2, 4, 6)])
    for start, expected in ((4, ["0.2", "0.4", "0.5"]), (0, ["0.5"] * 3)):
        engine = engine_of([output] * 6, 0, panels, start)
        CollapseWatch(2, path=str(path)).attach(engine)
        engine.go()
        assert [f"{float(row['contrast_fake_x']):.1f}" for row in rows_of(path)] == expected


# ---- the batch that went wrong ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("rank", "name"), [(0, "bad.npz"), (1, "bad_rank1.npz")])
def test_the_batch_that_went_wrong_can_be_looked_at(tmp_path: Path, rank: int, name: str) -> None:
    engine = engine_of([0.0], rank)
    batch = {"image_x": torch.full((1, 1, 2, 2, 2), math.nan), "name": "a.tif"}
    engine.state.offending = {"iteration": 7, "message": "iteration 7: cycle_x = nan", "batch": batch}
    engine.register_events("non_finite")
    OffendingBatch(str(tmp_path / "new" / "bad.npz")).attach(engine)
    engine.fire_event("non_finite")
    with np.load(tmp_path / "new" / name) as file:
        assert set(file) == {"image_x", "iteration", "message"}
        assert (int(file["iteration"]), str(file["message"])) == (7, "iteration 7: cycle_x = nan")
        assert np.isnan(file["image_x"]).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_batch_that_cannot_be_kept_does_not_hide_the_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_of([0.0])
    engine.state.offending = {"iteration": 7, "message": "cycle_x = nan", "batch": {}}
    engine.register_events("non_finite")
    (tmp_path / "file").touch()
    OffendingBatch(str(tmp_path / "file" / "bad.npz")).attach(engine)
    engine.fire_event("non_finite")
    assert "the batch of iteration 7 is not kept" in caplog.text
