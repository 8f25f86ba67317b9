"""What discriminators see: changed at random, real and generated alike."""

from __future__ import annotations

import pytest
import torch
from scripts.trainer.augmentation import BRIGHTNESS, CONTRAST, randomly_changed
from torch import Tensor


def volumes(count: int = 64, channels: int = 1) -> Tensor:
    """Samples (B, C, 4, 6, 8), none of which is the mirror image of itself, and none 0 anywhere."""
    drawn = torch.rand(count, channels, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    return 0.1 + 0.9 * drawn


def test_without_a_chance_nothing_is_changed_or_drawn() -> None:
    before = volumes()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert randomly_changed(before, 0.0) is before
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_seed_gives_the_same_changes() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(randomly_changed(volumes(), 0.5))
    assert torch.equal(*found)


def test_maps_are_mirrored_and_cut_but_keep_their_values() -> None:
    torch.manual_seed(0)
    before = volumes(channels=3)
    after = randomly_changed(before, 1.0, grey=False)
    ways = [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]
    seen = set()
    for one, other in zip(before, after, strict=True):
        kept = other != 0
        assert kept.float().mean() == pytest.approx(1 - 1 / 8)
        assert torch.equal(kept[0], kept[1])  # one hole for all channels
        [way] = [way for way in ways if torch.equal((one.flip(way) if way else one)[kept], other[kept])]
        seen.add(way)
    assert seen == {*ways}


def test_images_get_another_contrast_and_brightness_within_the_limits() -> None:
    torch.manual_seed(0)
    before = volumes()
    for one, other in zip(before, randomly_changed(before, 1.0), strict=True):
        kept = other[other != 0]
        spread = float(kept.max() - kept.min()) / float(one.max() - one.min())
        assert spread <= 1 + CONTRAST + 1e-5
        assert float(kept.max()) <= (1 + CONTRAST) * float(one.max()) + BRIGHTNESS
        assert float(kept.min()) >= (1 - CONTRAST) * float(one.min()) - BRIGHTNESS


def test_about_as_many_samples_are_changed_as_are_asked_for() -> None:
    torch.manual_seed(0)
    before = volumes(400)
    after = randomly_changed(before, 0.2)
    still = sum(torch.equal(*pair) for pair in zip(before, after, strict=True)) / len(before)
    assert still == pytest.approx(0.8**2 * 0.9**3, abs=0.08)


def test_gradients_pass_through_all_that_is_not_cut_out() -> None:
    torch.manual_seed(0)
    before = volumes().requires_grad_()
    randomly_changed(before, 1.0).sum().backward()
    assert before.grad is not None
    share = float((before.grad > 0).float().mean())
    assert share == pytest.approx(1 - 1 / 8)
    assert float(before.grad.max()) <= 1 + CONTRAST


def test_sides_of_one_voxel_are_no_error() -> None:
    assert randomly_changed(torch.ones(2, 1, 1, 1, 1), 1.0).shape == (2, 1, 1, 1, 1)
