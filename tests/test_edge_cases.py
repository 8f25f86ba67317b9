"""Volumes and patches at the edge of what can be worked on: each has an expected outcome."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from scripts.losses import NonFiniteLossError
from scripts.networks import SegmentationGenerator
from scripts.representation import Affinity, Contour, Foreground, Representation, SignedDistance
from scripts.trainer import CySGANTrainer
from test_trainer import NETWORKS, Networks, batch, build, changed, real_networks, weights

REPRESENTATION = Representation([Foreground(), Contour(), SignedDistance()])


def labels() -> dict[str, np.ndarray]:
    empty = np.zeros((8, 16, 16), np.uint16)
    return {"all background": empty, "one object fills the patch": empty + 5}


@pytest.mark.parametrize("kind", labels())
def test_targets_of_a_patch_of_one_class_are_finite_and_say_so(kind: str) -> None:
    foreground, contour, distance = REPRESENTATION.encode(labels()[kind])
    full = kind != "all background"
    assert (foreground == full).all()
    assert not contour.any()
    assert np.isfinite(distance).all()
    assert ((distance > 0) == full).all()
    assert np.isfinite(Affinity().encode(labels()[kind])).all()


def step(kind: str, grey: float | None, padding_mode: str) -> tuple[CySGANTrainer, Networks]:
    """A trainer of a batch of one class, and of one grey value unless that is None."""
    volumes = batch()
    if grey is not None:
        volumes |= {name: torch.full_like(v, grey) for name, v in volumes.items() if name != "target_x"}
    volumes["target_x"] = torch.from_numpy(REPRESENTATION.encode(labels()[kind]))[None]
    networks = real_networks()
    generator = SegmentationGenerator(filters=(8, 16), isotropic_from=1, padding_mode=padding_mode)
    networks |= {"generator_xy": generator, "generator_yx": copy.deepcopy(generator)}
    return build(networks, [volumes], loss_weights={"identity": 1.0, "correlation": 1.0}), networks


@pytest.mark.parametrize(
    ("kind", "grey"), [("all background", None), ("one object fills the patch", None), ("all background", 0.0)]
)
def test_a_step_on_patches_of_one_class_or_one_grey_value_trains_all_with_finite_terms(
    kind: str, grey: float | None
) -> None:
    trainer, networks = step(kind, grey, "zeros")
    before = weights(networks)
    trainer.run()
    assert all(math.isfinite(value) for value in trainer.state.output.values())
    assert changed(before, networks) == NETWORKS
    assert all(bool(torch.isfinite(p).all()) for network in networks.values() for p in network.parameters())


def test_a_constant_patch_and_replicated_borders_overflow_the_gradient_which_is_told_before_any_step() -> None:
    # Without a border to see, every norm divides by the root of its epsilon, and the factors multiply.
    trainer, networks = step("all background", 0.0, "replicate")
    before = weights(networks)
    with pytest.raises(NonFiniteLossError, match="iteration 1: gradient_generator_xy = "):
        trainer.run()
    assert changed(before, networks) == set()


@pytest.mark.parametrize("factor", [70_000, 2**33])
def test_ids_of_any_size_give_the_maps_of_small_ones(balls: np.ndarray, factor: int) -> None:
    large = balls.astype(np.int64) * factor
    assert np.array_equal(REPRESENTATION.encode(large), REPRESENTATION.encode(balls))
    assert np.array_equal(Affinity().encode(large), Affinity().encode(balls))
