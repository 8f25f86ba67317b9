"""AdamW and its schedules."""

from __future__ import annotations

import math

import pytest
import torch
from scripts.trainer.optimizer import adamw, warm_up_cosine
from torch import nn


def network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 8, 3), nn.GroupNorm(2, 8), nn.Conv3d(8, 1, 1, bias=False))


def rates(iterations: int, **options: float) -> list[float]:
    """Learning rate of every iteration, of an optimiser whose rate is 1."""
    optimizer = adamw(network(), 1.0)
    schedule = warm_up_cosine({"one": optimizer}, iterations, **options)["one"]
    result = []
    for _ in range(iterations + 1):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return result


def test_weight_decay_spares_norms_and_biases() -> None:
    net = network()
    optimizer = adamw(net)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decays[id(p)] for name, p in net.named_parameters()}
    assert found == {"0.weight": 1e-4, "0.bias": 0, "1.weight": 0, "1.bias": 0, "2.weight": 1e-4}


def test_every_parameter_is_optimised_once() -> None:
    net = network()
    listed = [p for group in adamw(net).param_groups for p in group["params"]]
    assert len(listed) == len(list(net.parameters()))
    assert {id(p) for p in listed} == {id(p) for p in net.parameters()}


def test_a_network_of_norms_alone_or_of_weights_alone_is_no_error() -> None:
    assert len(adamw(nn.GroupNorm(2, 4)).param_groups) == 1
    assert len(adamw(nn.Conv3d(1, 1, 1, bias=False)).param_groups) == 1


def test_rate_and_betas_are_the_published_ones_and_may_come_from_a_list() -> None:
    for group in adamw(network()).param_groups:
        assert (group["lr"], group["betas"]) == (2e-3, (0.9, 0.999))
    for group in adamw(network(), 0.1, [0.5, 0.9], 0.3).param_groups:
        assert (group["lr"], group["betas"]) == (0.1, (0.5, 0.9))
        assert group["weight_decay"] in (0.3, 0.0)


def test_the_rate_rises_in_a_line_and_falls_by_a_cosine_to_zero() -> None:
    found = rates(100, warm_up=10)
    rise = [0.001 + 0.999 * i / 10 for i in range(10)]
    fall = [0.5 * (1 + math.cos(math.pi * (i - 10) / 90)) for i in range(10, 101)]
    assert found == pytest.approx(rise + fall, abs=1e-9)
    assert found[0] == 0.001
    assert found[10] == 1
    assert found[100] == 0


def test_the_rate_stays_at_zero_behind_the_end() -> None:
    optimizer = adamw(network(), 1.0)
    schedule = warm_up_cosine({"one": optimizer}, 10, warm_up=1)["one"]
    optimizer.step()
    for _ in range(25):
        schedule.step()
        assert schedule.last_epoch < 10 or optimizer.param_groups[0]["lr"] == 0


@pytest.mark.parametrize(("iterations", "peak"), [(100, 10), (55, 6), (5, 1)])
def test_the_rise_takes_a_tenth_of_a_short_training_at_most(iterations: int, peak: int) -> None:
    found = rates(iterations, warm_up=1000)
    assert found.index(max(found)) == peak
    assert max(found) == 1


def test_the_share_at_the_start_can_be_chosen() -> None:
    assert rates(100, warm_up=10, start=0.5)[:2] == pytest.approx([0.5, 0.55])


def test_every_optimiser_has_its_own_schedule_and_length() -> None:
    optimizers = {name: adamw(network(), rate) for name, rate in (("long", 1.0), ("short", 0.1), ("none", 1.0))}
    schedules = warm_up_cosine(optimizers, 100, 10, own_iterations={"short": 20, "none": 0})
    assert {name: schedule.optimizer for name, schedule in schedules.items()} == optimizers
    for _ in range(20):
        optimizers["short"].step()
        schedules["short"].step()
    assert optimizers["short"].param_groups[0]["lr"] == 0
    assert optimizers["long"].param_groups[0]["lr"] == 0.001
    assert len({id(schedule) for schedule in schedules.values()}) == 3


def test_a_step_decays_weights_without_gradient_and_leaves_norms() -> None:
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adamw(net, 0.1, weight_decay=0.5).step()
    for name, parameter in net.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim > 1 else 1
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
