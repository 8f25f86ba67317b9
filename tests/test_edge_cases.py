"""Volumes and patches at the edge of what can be worked on: each has an expected outcome."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from scipy import ndimage
from scripts.check.array import check_image
from scripts.errors import InputError
from scripts.metrics import score_instances
from scripts.networks import SegmentationGenerator
from scripts.representation import Affinity, Contour, Foreground, Representation, SignedDistance
from scripts.trainer import CySGANTrainer
from scripts.trainer.term import NonFiniteLossError
from scripts.volume_io import write_volume
from scripts.watershed import bcd_watershed

from conftest import CONFIGS
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


# ---- grey values -----------------------------------------------------------------------------------------------------
GREY = np.random.default_rng(0).integers(0, 256, (6, 32, 32)).astype(np.uint8)
GREY_VALUES = {
    "uint16 above 32,767": GREY.astype(np.uint16) * 257,
    "uint16 above 32,767 alone": GREY.astype(np.uint16) + 40_000,
    "negative int16": (GREY.astype(np.int32) * 257 - 32_768).astype(np.int16),
    "negative float32": GREY.astype(np.float32) / 255 - 7,
}


def prepared(path: Path) -> np.ndarray:
    """An image as the network of inference.yaml is given it."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.yaml"))
    return np.asarray(parser.get_parsed_content("preprocessing")({"image": str(path)})["image"])


@pytest.mark.parametrize("kind", GREY_VALUES)
@pytest.mark.parametrize("ending", [".tif", ".h5", ".nii.gz"])
def test_grey_values_of_any_sign_and_size_reach_the_network_alike(kind: str, ending: str, tmp_path: Path) -> None:
    found = {}
    for name, array in (("plain", GREY), (kind, GREY_VALUES[kind])):
        path = tmp_path / f"{name.replace(' ', '_')}{ending}"
        write_volume(path, array)
        found[name] = prepared(path)
    np.testing.assert_allclose([found["plain"].min(), found["plain"].max()], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(found[kind], found["plain"], atol=2e-5)


# ---- shapes ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_side_of_one_voxel_is_no_image_but_has_targets_instances_and_scores(axis: int) -> None:
    shape = [12, 24, 24]
    shape[axis] = 1
    with pytest.raises(InputError, match=r"flat.tif: shape .* expected at least 4 voxels on every side"):
        check_image(np.zeros(shape, np.uint8), "flat.tif")
    label = np.zeros((12, 24, 24), np.uint16)
    label[2:10, 2:10, 2:10], label[2:10, 13:22, 13:22] = 1, 2
    flat = label.take([5], axis)
    targets = REPRESENTATION.encode(flat)
    assert targets.shape == (3, *shape)
    assert np.isfinite(targets).all()
    targets[2] = (targets[2] + 1) / 2
    found = bcd_watershed(targets, min_seed_size=1, min_instance_size=1, seed_distance=0.1)
    assert found.shape == flat.shape
    assert score_instances(flat, found)["coco_ap50"] == 1


@pytest.mark.parametrize("spacing", [(16.0, 1.0, 1.0), (0.1, 1.0, 4.0)])
def test_distances_between_voxels_that_are_no_cubes_are_those_of_space(spacing: tuple[float, ...]) -> None:
    label = np.zeros((9, 24, 32), np.uint8)
    label[1:8, 3:22, 5:28] = 7
    expected = ndimage.distance_transform_edt(label, spacing)
    np.testing.assert_allclose(
        SignedDistance(spacing).encode(label)[0][label > 0], expected[label > 0] / expected.max(), atol=1e-5
    )
