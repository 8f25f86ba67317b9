"""The command that judges models, and the rule by which it chooses one."""

import json

import numpy as np
import pytest
import torch
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.judge.candidate import Judgement
from scripts.judge.choice import choose
from scripts.judge.command import judge_files
from scripts.judge.estimate import Tally, estimate
from scripts.volume_io import write_volume

from test_judge_veto import TRUTH, image_of

SHIPPED = str(BUNDLE / "models" / "model.pt")


def judged(name, share, *against, tiles=30, seed=0):
    """A candidate that finds about this share of 20 instances again in each tile."""
    again = np.random.default_rng(seed).binomial(20, share, tiles).astype(float)
    counts = np.stack([again, np.full(tiles, 20.0)], axis=1)[:, None]
    tally = Tally(counts, np.ones((tiles, 2)))
    return Judgement(name, tally, estimate(tally), against, [])


@pytest.mark.parametrize(
    ("candidates", "number", "words"),
    [
        ([judged("source", 0.7)], 0, "the only one"),
        ([judged("source", 0.7), judged("CySGAN", 0.9)], 1, "higher than the one of source"),
        ([judged("source", 0.7), judged("a", 0.8), judged("b", 0.95)], 2, "higher"),
        ([judged("source", 0.7), judged("CySGAN", 0.5)], 0, "no other is better"),
        ([judged("source", 0.7), judged("CySGAN", 0.7)], 0, "no other is better"),
        ([judged("source", 0.7), judged("CySGAN", 0.9, "nothing is found")], 0, "every other one is vetoed"),
        ([judged("source", 0.0, "nothing is found"), judged("CySGAN", 0.5)], 1, "higher than the one of source"),
        ([judged("source", 0.7, "bad"), judged("CySGAN", 0.7)], 0, "margin of error, although it is vetoed: bad"),
        ([judged("source", 0.7, "bad"), judged("CySGAN", 0.7, seed=1)], 1, "source is vetoed (bad), and"),
        ([judged("source", 0.9, "bad"), judged("CySGAN", 0.5)], 0, "no other is better"),
        ([judged("source", 0.9, "bad"), judged("CySGAN", 0.9, "bad")], 0, "every other one is vetoed, although"),
    ],
)
def test_the_first_stays_unless_another_is_better_by_more_than_the_margin(candidates, number, words):
    choice = choose(candidates)
    assert choice.number == number
    assert words in choice.reason


@pytest.fixture
def volume(tmp_path):
    write_volume(tmp_path / "y.tif", image_of(TRUTH), voxel_size=(1.0, 1.0, 1.0))
    return str(tmp_path / "y.tif")


def test_a_model_without_knowledge_is_not_chosen(volume, tmp_path, capsys):
    state = torch.load(SHIPPED, weights_only=True)
    untrained = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save(type(state)(untrained), tmp_path / "zeros, all.pt")
    judge_files(volume, [SHIPPED, str(tmp_path / "zeros, all.pt")], str(tmp_path / "judge.json"), 1, (32, 64, 64))
    found = json.loads((tmp_path / "judge.json").read_text())
    assert found["chosen"] == SHIPPED
    assert found["volumes"] == [{"image": volume, "crops": [[[0, 32], [16, 80], [16, 80]]]}]
    assert [one["vetoes"][:1] for one in found["candidates"]][1] == ["nothing is found"]
    assert 0 <= found["candidates"][0]["score"]["low"] <= found["candidates"][0]["score"]["high"] <= 1
    assert len(found["candidates"][0]["f1"]) == 3
    assert "VETO: nothing is found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("models", "more", "words"),
    [
        ("", {}, "--models: found none"),
        ("absent.pt", {}, "absent.pt"),
        (SHIPPED, {"label_x": "labels.tif"}, "labels.tif"),
        (SHIPPED, {"crops": 0}, "crops: found 0"),
        (SHIPPED, {"size": (0, 8, 8)}, "expected 1 or more of three sides"),
    ],
)
def test_bad_input_is_one_line_before_any_work(volume, tmp_path, models, more, words):
    with pytest.raises(InputError, match=words):
        judge_files(volume, models, str(tmp_path / "judge.json"), **more)
    assert not (tmp_path / "judge.json").exists()


def test_files_of_several_models_are_a_list_with_commas(volume, tmp_path):
    with pytest.raises(InputError, match=r"^b\.pt"):
        judge_files(volume, f"{SHIPPED},b.pt", str(tmp_path / "judge.json"))


def test_labels_of_x_veto_what_is_far_less_solid(volume, tmp_path):
    for name, labels in [("x.tif", TRUTH), ("pairs.tif", np.where(TRUTH > 0, (TRUTH + 1) // 2, 0))]:
        write_volume(tmp_path / name, labels, voxel_size=(1.0, 1.0, 1.0))
    files, out = [str(tmp_path / name) for name in ("x.tif", "pairs.tif")], tmp_path / "judge.json"
    judge_files(volume, out=str(out), instances=files, label_x=files[0])
    right, pairs = json.loads(out.read_text())["candidates"]
    assert right["vetoes"] == []
    assert "of their convex hulls" in pairs["vetoes"][0]
