"""The trainer's terms: what is not finite is named, what does not follow its input is penalised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scripts.trainer.term import NonFiniteLossError, anticorrelation, check_finite


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


def test_finite_terms_pass_however_large() -> None:
    check_finite(scalars(a=0.0, b=3e38, c=-1.0), 1)


def test_terms_that_are_no_numbers_are_named_with_their_values_and_the_iteration() -> None:
    terms = scalars(cycle_x=1.0, cycle_y=float("nan"), structure=float("-inf"), adversarial_s=0.5)
    with pytest.raises(NonFiniteLossError, match=r"^iteration 12: cycle_y = nan, structure = -inf\.") as caught:
        check_finite(terms, 12)
    assert "cycle_x" not in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_a_half_precision_term_that_overflowed_is_found() -> None:
    with pytest.raises(NonFiniteLossError, match="b = inf"):
        check_finite({"a": torch.tensor(1.0), "b": torch.tensor(60000.0).half() * 2}, 1)


def test_a_translation_that_inverts_its_input_costs_one_and_one_that_follows_it_nothing() -> None:
    image = torch.randn(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert anticorrelation(3 - 2 * image, image).item() == pytest.approx(1, abs=1e-5)
    assert anticorrelation(3 + 2 * image, image).item() == 0


def test_anticorrelation_is_its_formula_sample_by_sample() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 6, 1, 2, 3, 4))
    b = b - np.array([2, 1, 0.5, 0, -1, -2]).reshape(6, 1, 1, 1, 1) * a
    r = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    assert min(r) < 0 < max(r)
    fine = [torch.from_numpy(volume.repeat(2, 2).repeat(2, 3).repeat(2, 4)) for volume in (a, b)]
    for margin in (0, 0.3):
        expected = np.mean([max(0, margin - value) for value in r])
        assert anticorrelation(*fine, margin).item() == pytest.approx(expected, rel=1e-4)


def test_what_differs_within_two_voxels_is_noise_to_anticorrelation() -> None:
    coarse = np.random.default_rng(0).normal(size=(1, 1, 3, 4, 5))
    image = torch.from_numpy(coarse.repeat(2, 2).repeat(2, 3).repeat(2, 4))
    checks = torch.tensor([1.0, -1.0]).repeat(5)  # 0 on average over any two voxels in x
    assert anticorrelation(image + 9 * checks, image, 0.99).item() == 0


def test_descending_anticorrelation_turns_an_inverted_translation_round() -> None:
    image = torch.randn(1, 1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    translated = (-image + 0.1 * image.square()).requires_grad_()
    anticorrelation(translated, image).backward()
    assert (translated.grad * image).sum() < 0


def test_a_constant_image_is_not_anticorrelated_and_its_gradient_is_finite() -> None:
    image, flat = torch.rand(1, 1, 2, 4, 4), torch.zeros(1, 1, 2, 4, 4, requires_grad=True)
    value = anticorrelation(flat, image)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(flat.grad).all()
