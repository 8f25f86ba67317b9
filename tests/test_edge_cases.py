"""Volumes and patches at the edge of what can be worked on: each has an expected outcome."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.representation import Affinity, Contour, Foreground, Representation, SignedDistance
from test_trainer import NETWORKS, batch, build, changed, real_networks, weights

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


@pytest.mark.parametrize("kind", labels())
@pytest.mark.parametrize("grey", [None, -1.0, 0.0, 1.0])
def test_a_step_on_patches_of_one_class_or_one_grey_value_trains_all_with_finite_terms(
    kind: str, grey: float | None
) -> None:
    volumes = batch()
    if grey is not None:
        volumes |= {name: torch.full_like(v, grey) for name, v in volumes.items() if name != "target_x"}
    volumes["target_x"] = torch.from_numpy(REPRESENTATION.encode(labels()[kind]))[None]
    networks = real_networks()
    before = weights(networks)
    trainer = build(networks, [volumes], loss_weights={"identity": 1.0, "correlation": 1.0})
    trainer.run()
    assert all(math.isfinite(value) for value in trainer.state.output.values())
    assert changed(before, networks) == NETWORKS
    assert all(bool(torch.isfinite(p).all()) for network in networks.values() for p in network.parameters())


@pytest.mark.parametrize("factor", [70_000, 2**33])
def test_ids_of_any_size_give_the_maps_of_small_ones(balls: np.ndarray, factor: int) -> None:
    large = balls.astype(np.int64) * factor
    assert np.array_equal(REPRESENTATION.encode(large), REPRESENTATION.encode(balls))
    assert np.array_equal(Affinity().encode(large), Affinity().encode(balls))

