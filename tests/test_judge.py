"""Consistency of a candidate: what is found again under perturbations, and the margin of error of the score."""

import numpy as np
import pytest
import torch
from scripts.judge import PERTURBATIONS, Perturbation, Tally, difference, estimate, repeat


class Thresholded:
    """Stands in for a predictor: instances are the columns whose grey value exceeds 0, by their place."""

    network = None

    def part(self, key):
        alone = lambda item: {"maps": item["pred"]}  # noqa: E731
        return {"inferer": self._maps, "maps_alone": alone, "decode": self._decoded, "device": "cpu"}[key]

    @staticmethod
    def _maps(volume, network):
        return (volume.clamp(-1, 1) * 127 + 127).byte()

    @staticmethod
    def _decoded(item):
        bright = item["maps"][0] > 127
        columns = torch.arange(1, bright.shape[-1] // 8 + 1).repeat_interleave(8)
        return {"maps": item["maps"], "instances": torch.where(bright, columns, 0)[None]}


def striped(first, second):
    """A volume (1, 1, 4, 8, 16): two columns of 8, with these grey values."""
    volume = torch.full((1, 1, 4, 8, 16), float(first))
    volume[..., 8:] = second
    return volume


def test_what_a_change_removes_is_not_found_again():
    darker = Perturbation("darker", lambda volume, _: volume - 0.5)
    found = repeat(Thresholded(), striped(0.9, 0.2), [darker, Perturbation("none")])
    assert found.ids.tolist() == [1, 2]
    assert found.iou.tolist() == [[1, 1], [0, 1]]
    assert found.confidence.tolist() == [1, 0.5]
    # Two of the three instances of both segmentations have a partner; without a change all four have one.
    assert found.counts.sum(axis=0).tolist() == [[2, 3], [4, 4]]
    assert Tally.of([found]).f1.mean() == pytest.approx((2 / 3 + 1) / 2)


def test_a_turned_volume_is_compared_in_its_own_place():
    turned = next(one for one in PERTURBATIONS if one.turned)
    found = repeat(Thresholded(), striped(0.9, -0.9), [turned])
    assert found.iou.tolist() == [[1]]


def test_an_empty_result_is_not_steady():
    found = repeat(Thresholded(), striped(-0.9, -0.9))
    assert estimate(Tally.of([found])).value == 0


def test_certainty_is_what_the_foreground_map_is_decided_about():
    # 0.9 and 0.2 are 241 and 152 of 255: the undecided part is 14 / 255 of one half and 103 / 255 of the other.
    found = Tally.of([repeat(Thresholded(), striped(0.9, 0.2), [Perturbation("none")])])
    assert found.certainty == pytest.approx(1 - (14 + 103) / 255 / 2)
    assert found.score == pytest.approx(found.certainty**0.5)


def test_dropout_is_drawn_for_each_window_and_ends_with_the_prediction():
    network = torch.nn.Module()
    network.down = torch.nn.ModuleList([torch.nn.Identity()])
    features = torch.ones(2, 1000, 1, 1, 1)
    with Perturbation("", dropout=0.2).within(network, torch.Generator().manual_seed(0)):
        dropped = network.down[0](features)
    shares = (dropped == 0).float().mean((1, 2, 3, 4))
    assert ((shares > 0.15) & (shares < 0.25)).all()
    assert not torch.equal(dropped[0], dropped[1])
    assert dropped.max() == pytest.approx(1 / 0.8)
    assert torch.equal(network.down[0](features), features)


def test_perturbations_keep_the_range_of_a_volume_but_for_noise():
    volume = torch.linspace(-1, 1, 2 * 4 * 6).reshape(1, 1, 2, 4, 6)
    for one in PERTURBATIONS:
        changed = one.change(volume, torch.Generator().manual_seed(1))
        assert changed.shape == volume.shape
        assert changed.abs().max() <= (1.6 if "noise" in one.name else 1)


def tally(again):
    """A candidate that finds so many of 20 instances again in each tile, and is certain."""
    counts = np.stack([again, np.full(len(again), 20.0)], axis=1)
    return Tally(counts[:, None], np.ones((len(again), 2)))


def drawn(tiles=40, seed=0):
    return tally(np.random.default_rng(seed).binomial(20, 0.7, tiles))


def test_about_nine_intervals_of_ten_hold_the_true_value():
    found = [estimate(drawn(seed=seed)) for seed in range(50)]
    assert 40 <= sum(one.low < 0.7 < one.high for one in found) <= 50
    few, many = estimate(drawn(tiles=10)), estimate(drawn(tiles=400))
    assert many.high - many.low < (few.high - few.low) / 3


def test_a_difference_is_paired_by_tile():
    # Tiles differ much, candidates little and always in one direction: only pairs can tell.
    again = np.random.default_rng(0).integers(2, 18, 40)
    one, other = tally(again + 1), tally(again)
    assert estimate(one).low < estimate(other).high
    assert difference(one, other).low > 0
    assert difference(one, one).value == 0
