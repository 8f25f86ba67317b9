"""Thresholds of a model's decoder, chosen without labels: what is tried, how it is judged, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.judge import threshold as command
from scripts.judge.candidate import judge_model
from scripts.judge.consistency import predictor_of
from scripts.judge.setting import OWN, judge_decoders, variants
from scripts.judge.threshold import choose_thresholds
from scripts.judge.volume import volume_crops
from scripts.plan.file import read_plan
from scripts.predictor import Predictor
from scripts.volume_io import write_volume
from scripts.watershed import AffinityWatershed, BCDWatershed, BCWatershed

from test_judge_command import judged
from test_judge_veto import TRUTH, image_of

SHIPPED = str(BUNDLE / "models" / "model.pt")


@pytest.fixture
def volume(tmp_path: Path) -> str:
    write_volume(tmp_path / "y.tif", image_of(TRUTH), voxel_size=(1.0, 1.0, 1.0))
    return str(tmp_path / "y.tif")


def test_the_thresholds_that_a_decoder_has_come_first_and_others_lie_around_them():
    found = variants(BCDWatershed(seed_distance=0.9, mask_foreground=0.7, min_seed_size=5))
    assert next(iter(found)) == OWN
    tried = {(one.options["seed_distance"], one.options["mask_foreground"]) for one in found.values()}
    assert (0.9, 0.7) in tried and (0.8, 0.6) in tried
    assert all(0 < value < 1 for pair in tried for value in pair)
    assert all(one.options["min_seed_size"] == 5 for one in found.values())
    assert len(tried) == len(found)


@pytest.mark.parametrize(
    ("decoder", "name"),
    [
        (BCWatershed(seed_contour=0.8, mask_foreground=0.85), "seed_contour"),
        (AffinityWatershed(seed_affinity=0.9, mask_affinity=0.5), "seed_affinity"),
    ],
)
def test_other_decoders_have_thresholds_of_their_own(decoder: BCDWatershed, name: str):
    found = variants(decoder)
    assert len(found) > 2
    assert {type(one) for one in found.values()} == {type(decoder)}
    assert all(name in label for label in found if label != OWN)


def test_maps_that_are_predicted_once_give_the_scores_of_models_with_these_thresholds(volume: str):
    predictor = predictor_of(SHIPPED)
    crops = [volume_crops(volume, (16, 48, 48), 1)]
    own = predictor.part("decoder")
    other = type(own)(**{**own.options, "seed_distance": 0.3, "mask_foreground": 0.5})
    one, two = judge_decoders(predictor, crops, {OWN: own, "other": other})
    assert one.facts() == {**judge_model(predictor, crops).facts(), "name": OWN}
    changed = Predictor.of(
        SHIPPED, {"seed_distance": 0.3, "mask_foreground": 0.5, "overlap": predictor.parser["overlap"]}, {}
    )
    assert two.facts() == {**judge_model(changed, crops).facts(), "name": "other"}


def scored(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Have the third setting find this share of the instances again, and all others 0.7 of them."""

    def judge_decoders(predictor: Any, volumes: Any, decoders: Any, expected: Any) -> Any:
        return [judged(name, share if number == 2 else 0.7, seed=1) for number, name in enumerate(decoders)]

    monkeypatch.setattr(command, "judge_decoders", judge_decoders)
    monkeypatch.setattr(command, "line_of", lambda one: f"{one.name}: score {one.score.value:.3f}")


def test_better_thresholds_are_in_the_plan_of_a_copy_that_everything_reads(volume, tmp_path, monkeypatch, capsys):
    scored(monkeypatch, 0.95)
    choose_thresholds(volume, SHIPPED, str(tmp_path / "better.pt"), 1, (16, 48, 48))
    said, before, after = capsys.readouterr().out, read_plan(SHIPPED), read_plan(tmp_path / "better.pt")
    assert before is not None and after is not None
    own, new = (Predictor.of(str(path), {}, {}).part("decoder") for path in (SHIPPED, tmp_path / "better.pt"))
    changed = {name: value for name, value in new.options.items() if own.options.get(name, value) != value}
    assert changed
    for name, value in changed.items():
        assert f"--{name} {value:g}" in said
    assert {**after.keys, "decoder": 0, "overlap": 0} == {**before.keys, "decoder": 0, "overlap": 0}
    assert after.keys["overlap"] == Predictor.of(SHIPPED, {}, {}).plan.keys["overlap"]
    assert (after.trained_on, after.changed) == (before.trained_on, {})
    weights = [torch.load(path, weights_only=True) for path in (SHIPPED, tmp_path / "better.pt")]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


def test_nothing_is_written_where_no_threshold_is_clearly_better(volume, tmp_path, monkeypatch, capsys):
    scored(monkeypatch, 0.7)
    choose_thresholds(volume, SHIPPED, str(tmp_path / "better.pt"), 1, (16, 48, 48))
    assert not (tmp_path / "better.pt").exists()
    assert "keeps its thresholds: no other is better by more than the margin of error" in capsys.readouterr().out


def test_what_does_not_fit_is_one_line_before_any_work(volume, tmp_path):
    for changed, words in (
        ({"model": "absent.pt"}, "absent.pt"),
        ({"image": "absent.tif"}, "absent.tif"),
        ({"out": SHIPPED}, r"model\.pt is read as well and would be replaced"),
        ({"out": volume}, r"y\.tif is read as well and would be replaced"),
        ({"out": str(tmp_path)}, str(tmp_path)),
        ({"label_x": "labels.tif"}, "labels.tif"),
        ({"crops": 0}, "crops: found 0"),
    ):
        with pytest.raises(InputError, match=words):
            choose_thresholds(**{"image": volume, "model": SHIPPED, "out": str(tmp_path / "better.pt"), **changed})
    assert np.array_equal(sorted(path.name for path in tmp_path.iterdir()), ["y.tif"])
