"""Segmentation losses against the formulas written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scripts.representation.loss import balance_weights, dice_from_logits, distance_mse, weighted_bce_with_logits


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def weights_of(target: np.ndarray) -> np.ndarray:
    """Slow oracle: voxel weights of one sample."""
    fraction = target.mean()
    if fraction in (0, 1):
        return np.ones_like(target)
    fraction = min(max(fraction, 0.05), 0.95)
    ratio = max(fraction, 1 - fraction) / min(fraction, 1 - fraction)
    minority = 1 if fraction <= 0.5 else 0
    return np.where(target == minority, ratio, 1.0)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (3, 1, 4, 8, 8))


@pytest.fixture
def target() -> np.ndarray:
    draw = np.random.default_rng(1).random((3, 1, 4, 8, 8))
    return (draw < np.array([0.2, 0.7, 0.01]).reshape(3, 1, 1, 1, 1)).astype(float)


def test_a_quarter_of_positives_weighs_three_times() -> None:
    target = torch.tensor([1.0, 0, 0, 0]).reshape(1, 1, 1, 1, 4)
    assert balance_weights(target).flatten().tolist() == [3, 1, 1, 1]
    assert balance_weights(1 - target).flatten().tolist() == [3, 1, 1, 1]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_target_weighs_one(value: float) -> None:
    assert torch.equal(balance_weights(torch.full((2, 1, 2, 2, 2), value)), torch.ones(2, 1, 2, 2, 2))


def test_even_classes_weigh_one() -> None:
    assert balance_weights(torch.tensor([0.0, 1, 1, 0]).reshape(1, 1, 1, 2, 2)).unique().tolist() == [1]


def test_a_rare_class_weighs_nineteen_at_most() -> None:
    target = torch.zeros(1, 1, 10, 10, 10)
    target[0, 0, 0, 0, 0] = 1
    weights = balance_weights(target)
    assert weights[0, 0, 0, 0, 0].item() == pytest.approx(19)
    assert weights.sum().item() == pytest.approx(19 + 999)


def test_samples_are_weighed_by_themselves_and_channels_together(target: np.ndarray) -> None:
    stacked = np.concatenate([target, 1 - target[::-1]], axis=1)
    weights = balance_weights(torch.from_numpy(stacked)).numpy()
    for sample, expected in zip(weights, stacked, strict=True):
        np.testing.assert_allclose(sample, weights_of(expected), rtol=1e-6)


@pytest.mark.parametrize("name", ["tgt_02_holes_split_12x48x56", "tgt_03_empty_8x32x32", "tgt_04_full_8x32x32"])
def test_weights_equal_the_reference(shared, name: str) -> None:
    vector = np.load(shared / "vectors" / f"{name}.npz")
    for target, expected in (("binary", "w_binary"), ("contour", "w_contour"), ("aff", "w_aff")):
        weights = balance_weights(torch.from_numpy(vector[target].astype(np.float32))[None])[0]
        np.testing.assert_allclose(weights.numpy(), vector[expected], rtol=1e-6)


def test_weighted_bce_is_its_formula(logits: np.ndarray, target: np.ndarray) -> None:
    probability = sigmoid(logits)
    entropy = -(target * np.log(probability) + (1 - target) * np.log(1 - probability))
    expected = np.mean([(weights_of(t) * e).mean() for t, e in zip(target, entropy, strict=True)])
    loss = weighted_bce_with_logits(torch.from_numpy(logits), torch.from_numpy(target))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dice_is_its_formula(logits: np.ndarray, target: np.ndarray) -> None:
    probability = sigmoid(logits)
    expected = np.mean(
        [1 - (2 * (p * t).sum() + 100) / (p.sum() + t.sum() + 100) for p, t in zip(probability, target, strict=True)]
    )
    loss = dice_from_logits(torch.from_numpy(logits), torch.from_numpy(target))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_distance_is_compared_after_tanh(logits: np.ndarray) -> None:
    target = np.random.default_rng(2).uniform(-1, 1, logits.shape)
    loss = distance_mse(torch.from_numpy(logits), torch.from_numpy(target))
    assert loss.item() == pytest.approx(((np.tanh(logits) - target) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", [weighted_bce_with_logits, dice_from_logits, distance_mse])
def test_half_precision_logits_under_autocast_give_float32(loss, logits: np.ndarray, target: np.ndarray) -> None:
    half = torch.from_numpy(logits).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, torch.from_numpy(target).bfloat16())
    value.backward()
    assert value.dtype == torch.float32
    assert half.grad is not None
    assert torch.isfinite(half.grad).all()
    assert half.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", [weighted_bce_with_logits, dice_from_logits, distance_mse])
def test_sure_logits_stay_finite(loss) -> None:
    value = loss(torch.full((1, 1, 2, 4, 4), -1e4), torch.ones(1, 1, 2, 4, 4))
    assert torch.isfinite(value)
