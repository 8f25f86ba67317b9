"""A model with its network, inferer and decoder, as its plan says."""

import pytest
import torch
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.predictor import Predictor

SHIPPED = BUNDLE / "models" / "model.pt"


def test_a_predictor_has_the_values_of_the_plan_with_the_changes():
    predictor = Predictor.of(SHIPPED, {"overlap": 0.25, "seed_distance": 0.5}, {"inferer::progress": False})
    assert predictor.part("inferer").overlap == 0.25
    assert predictor.part("decoder").options["seed_distance"] == 0.5
    assert predictor.plan.keys["overlap"] == 0.25
    assert not predictor.network.training


def test_what_the_network_was_trained_with_does_not_change():
    with pytest.raises(InputError, match=r"intensity_gamma: found a change that is not possible"):
        Predictor.of(SHIPPED, {"intensity_gamma": 1.0}, {})


def test_making_a_network_leaves_the_random_numbers_of_the_caller():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Predictor.of(SHIPPED, {}, {})
    assert torch.equal(torch.rand(1), expected)
