"""Refinement: which instances are kept, where the cleaned labels count, and what becomes of the rounds."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigWorkflow
from scripts.check import check_config
from scripts.check.overlay import configuration
from scripts.errors import InputError
from scripts.judge.candidate import Judgement
from scripts.plan.file import read_plan
from scripts.refine import Cleaning, EncodeSureTargetsd
from scripts.refine.cleaning import UNSURE, Kept
from scripts.representation import Contour, Foreground, Representation, SignedDistance

from conftest import TINY
from test_judge_handler import judgement

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
Run = Callable[..., ConfigWorkflow]


class Model:
    """Finds the given instances, those at each further look in turn; its foreground map is given too."""

    def __init__(self, looks: Sequence[np.ndarray], foreground: np.ndarray) -> None:
        self.looks, self.foreground, self.network = list(looks), foreground, None

    def part(self, name: str) -> Any:
        known = {
            "device": "cpu",
            "inferer": lambda volume, _: volume,
            "maps_alone": lambda _: {"maps": self.foreground[None]},
            "decode": lambda _: {"instances": self.looks.pop(0)[None]},
            "representation": Representation([Foreground()]),
        }
        return known[name]


def boxes(*sides: int, shift: int = 0) -> np.ndarray:
    """Cubes with these sides along one axis, 16 voxels apart, with the ids 1, 2, …."""
    label = np.zeros((16, 16, 16 * len(sides)), np.int32)
    for number, side in enumerate(sides):
        start = 16 * number + shift
        label[2 : 2 + side, 2 : 2 + side, start + 2 : start + 2 + side] = number + 1
    return label


def cleaned(looks: Sequence[np.ndarray], foreground: np.ndarray | None = None, **rule: Any) -> Any:
    first = looks[0]
    model: Any = Model(looks, 255 * (first > 0).astype(np.uint8) if foreground is None else foreground)
    [item], kept = Cleaning(**rule)(model, [torch.zeros((1, 1, *first.shape))])
    return item, kept


def test_an_instance_is_kept_that_is_found_again_and_of_usual_size() -> None:
    """Of six, one moves under the second change, one is tiny and one is huge."""
    first = boxes(8, 8, 8, 8, 3, 13)
    second = first.copy()
    second[second == 2] = 0
    second += 2 * np.roll(first == 2, 5, axis=0)
    item, kept = cleaned([first, first, second])
    label = item["label"][0].numpy()
    assert (kept.found, kept.share, kept.sizes.tolist()) == (6, 0.5, [512] * 3)
    values = [np.unique(label[first == number]).tolist() for number in range(7)]
    assert values == [[0], [2], [-3], [4], [5], [-6], [-7]]
    assert item["label"].dtype == torch.int32 and item["image"].shape == (1, *first.shape)


def test_background_that_may_hold_an_object_is_unsure() -> None:
    first = boxes(8, 8)
    foreground = np.where(first > 0, 255, 10).astype(np.uint8)
    foreground[12:, 12:, 12:15] = 100
    item, _ = cleaned([first] * 3, foreground)
    label = item["label"][0].numpy()
    np.testing.assert_array_equal(label == UNSURE, foreground == 100)


def test_where_nothing_is_found_nothing_is_kept() -> None:
    empty = np.zeros((8, 8, 8), np.int32)
    item, kept = cleaned([empty] * 3)
    assert kept.share == 0.0 and not item["label"].any()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"changes": ["gamma 3"]}, "found the change gamma 3, expected some of gamma 0.8, gamma 1.25, noise 0.1"),
        ({"changes": []}, "found 0 changes"),
        ({"iou": 1.0}, "iou 1.0"),
        ({"sizes": [2.0, 1.0]}, r"sizes \[2.0, 1.0\]"),
        ({"unsure": 1.5}, "unsure 1.5"),
    ],
)
def test_a_rule_that_cannot_be_is_rejected(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Cleaning(**rule)


def test_what_is_not_kept_is_drawn_for_its_neighbours_and_does_not_count() -> None:
    representation = Representation([Foreground(), Contour(), SignedDistance()])
    label = boxes(8, 8)
    cleaned_label = np.where(label == 1, 2, np.where(label == 2, -3, 0))
    cleaned_label[14:, 14:] = UNSURE
    encode = EncodeSureTargetsd("label_y", "known_y", output_keys="target_y", representation=representation)
    found = encode({"label_y": cleaned_label[None]})
    np.testing.assert_array_equal(found["target_y"], representation.encode(np.abs(label)))
    np.testing.assert_array_equal(found["known_y"][0], cleaned_label >= 0)
    assert found["target_y"].dtype == found["known_y"].dtype == np.float32


@pytest.mark.parametrize("one", [Foreground(), Contour(), SignedDistance()])
def test_voxels_that_do_not_count_have_no_gradient_and_the_rest_counts_as_before(one: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.from_numpy(one.encode(boxes(8, 8)))[None]
    logits = torch.randn(target.shape, generator=generator).requires_grad_()
    everywhere = torch.ones_like(target)
    assert one.loss(logits, target, everywhere).item() == pytest.approx(one.loss(logits, target).item(), rel=1e-5)
    known = (torch.rand(target.shape, generator=generator) > 0.3).float()
    loss = one.loss(logits, target, known)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[known == 0].any() and gradient[known == 1].any()
    assert one.loss(torch.where(known > 0, logits, -logits), target, known) == loss
    assert one.loss(logits, target, torch.zeros_like(target)).isfinite()


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Share of instances found again after each round, by its name; and labels as if all could be trusted."""
    found: dict[str, float] = {}

    def judge_model(_: Any, volumes: Any, name: str) -> Judgement:
        return judgement(name, found[name])

    def label(self: Cleaning, predictor: Any, crops: Any) -> Any:
        items = [{"image": (crop[0] / 2 + 0.5).half(), "label": ball(crop.shape[2:])} for crop in crops]
        return items, Kept(4, np.full(3, 500))

    monkeypatch.setattr("scripts.refine.round.judge_model", judge_model)
    monkeypatch.setattr(Cleaning, "__call__", label)
    return found


def ball(shape: Sequence[int]) -> torch.Tensor:
    label = torch.zeros((1, *shape), dtype=torch.int32)
    label[:, 8:20, 20:40, 20:40] = 2
    return label


@pytest.fixture
def refine(run_here: Run, volumes: Path, tiny: Path, tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Refine first weights, and return the rows of refine.csv."""
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    torch.save(configuration("train", [tiny]).get_parsed_content("network_def").state_dict(), start)

    def run(output_dir: Path = tmp_path / "refined", **overrides: Any) -> list[dict[str, str]]:
        files = {
            "image_x": str(volumes / "imageX_0.tif"),
            "label_x": str(volumes / "labelX_0.tif"),
            "image_y": str(volumes / "imageY.tif"),
        }
        own = yaml.safe_load((CONFIGS / "refine.yaml").read_text())
        given = {key: own[key] for key in own if key in TINY}  # the tiny overlay comes last
        given |= {"rounds": 2, "round_iterations": 3, "start_from": str(start), **files, **overrides}
        places = {"output_dir": str(output_dir), "model_path": str(output_dir / "model.pt")}
        run_here("training", "train", "refine", **{**given, **places})
        with (output_dir / "refine.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return run


def same(one: Path, other: Path) -> bool:
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    return all(torch.equal(first[name], second[name]) for name in first)


def test_rounds_that_do_better_are_kept(refine: Run, scores: dict[str, float], tmp_path: Path) -> None:
    scores |= {"round 0": 0.5, "round 1": 0.6, "round 2": 0.7}
    rows: Any = refine()
    out = tmp_path / "refined"
    assert [row["round"] for row in rows] == ["0", "1", "2"] and not any(row["undone"] for row in rows)
    assert [row["kept"] for row in rows] == ["3", "3", ""]
    assert same(out / "round_0.pt", tmp_path / "start.pt")
    assert same(out / "model.pt", out / "round_2.pt") and not same(out / "round_1.pt", out / "round_2.pt")
    plan = read_plan(out / "model.pt")
    assert plan is not None and plan.trained_on["method"] == "RefineTrainer"


def test_a_round_that_does_clearly_worse_is_undone(
    refine: Run, scores: dict[str, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scores |= {"round 0": 0.6, "round 1": 0.595, "round 2": 0.3, "round 3": 0.9}
    with caplog.at_level(logging.INFO):
        rows: Any = refine(rounds=3)
    assert [row["undone"] for row in rows] == ["", "", "yes"]
    assert same(tmp_path / "refined" / "model.pt", tmp_path / "refined" / "round_1.pt")
    assert "holds the weights after round 1" in caplog.text


def test_a_training_that_is_stopped_in_a_round_resumes_bit_for_bit(
    refine: Run, scores: dict[str, float], tmp_path: Path
) -> None:
    scores |= {"round 0": 0.5, "round 1": 0.6, "round 2": 0.7}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    rows: list[Any] = [refine(whole, checkpoint_interval=1, num_workers=1)]
    shutil.copytree(whole, broken)
    for name in ("checkpoint_0000006.pt", "round_2.pt", "model.pt", "refine.csv"):
        (broken / name).unlink()
    rows.append(refine(broken, checkpoint_interval=1, resume=True))
    first, second = ([{k: v for k, v in row.items() if k != "seconds"} for row in each] for each in rows)
    assert first == second
    assert same(whole / "round_2.pt", broken / "round_2.pt") and same(whole / "model.pt", broken / "model.pt")


def test_a_start_that_cannot_be_trusted_stays_as_it_is(
    refine: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """First weights find next to nothing; judge and cleaning are the real ones."""
    with caplog.at_level(logging.WARNING):
        rows: Any = refine()
    assert len(rows) == 1 and int(rows[0]["kept"]) <= 0.4 * int(rows[0]["found"] or 1)
    assert "round 1 does not start" in caplog.text and "expected 40 % or more (least_kept)" in caplog.text
    assert same(tmp_path / "refined" / "model.pt", tmp_path / "start.pt")


def test_without_a_model_there_is_nothing_to_refine() -> None:
    files = [CONFIGS / f"{name}.yaml" for name in ("train", "refine")]
    [line] = map(str, check_config(files, {}, "training", volumes=False).problems)
    assert "start_from: found none, expected the weights of a trained model to refine. Give --start_from" in line
