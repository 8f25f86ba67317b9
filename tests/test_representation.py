"""Target maps: small ones a person can check, slow oracles, and the reference's vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scripts.errors import InputError
from scripts.representation import Affinity, Contour, Foreground, Representation, SignedDistance

VECTORS = ["tgt_02_holes_split_12x48x56", "tgt_03_empty_8x32x32", "tgt_04_full_8x32x32"]


def slow_distance(
    label: np.ndarray, spacing: tuple[float, ...] = (2, 1, 1), border: bool = True, erosion: int = 0
) -> np.ndarray:
    """Oracle: every piece by itself in the whole volume, or in one section."""
    pad, ndim = 2 * border, label.ndim
    inner = (slice(pad, -pad or None),) * ndim
    reach = np.indices((2 * erosion + 1,) * ndim) - erosion
    ball = (reach**2).sum(axis=0) <= erosion**2
    result = np.full(label.shape, -1.0)
    for value in np.unique(label[label > 0]):
        pieces, count = ndimage.label(label == value, np.ones((3,) * ndim))
        for piece in range(1, count + 1):
            mask = np.pad(pieces == piece, pad)
            holes, _ = ndimage.label(~mask)
            sizes = np.bincount(holes.ravel())
            mask |= (sizes[holes] < 16) & (holes > 0)
            mask = ndimage.binary_erosion(mask, ball, border_value=1) if erosion else mask
            distance = ndimage.distance_transform_edt(mask, spacing)
            relative = (distance / (distance.max() + 1e-6))[inner]
            result = np.where(relative > 0, np.maximum(result, relative), result)
    return result.astype(np.float32)


def blobs(seed: int, shape: tuple[int, ...] = (7, 24, 26)) -> np.ndarray:
    """Ragged labels with holes, pieces that touch at corners, and single voxels."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 1)
    label = rng.integers(1, 5, shape) * (rng.random(shape) < 0.02)
    nearest = ndimage.distance_transform_edt(label == 0, return_distances=False, return_indices=True)
    return (label[tuple(nearest)] * (smooth > -0.1)).astype(np.int32)


ENCODERS = {
    "binary": Foreground(),
    "contour": Contour(),
    "sdt": SignedDistance(),
    "aff": Affinity(),
    "x_4-2-1": Contour(dilation=2),
    "x_4-1-0": Contour(background=False),
    "x_4-0-1": Contour(dilation=0),
    "x_5-3d-0-0-2.0-0": SignedDistance(border=False),
    "x_5-2d-1-0-2.0-0": SignedDistance(per_section=True),
    "x_5-3d-1-1-2.0-0": SignedDistance(levels=10),
    "x_5-3d-1-0-1.0-1": SignedDistance((1, 1, 1), erosion=1),
    "x_2-1-2-3-v1": Affinity([(-1, 0, 0), (0, -2, 0), (0, 0, -3)]),
}
# A piece without any surface: SciPy, asked for a distance to nothing, returns that to a corner.
WITHOUT_A_SURFACE = ("tgt_04_full_8x32x32", "x_5-3d-0-0-2.0-0")


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("key", ENCODERS)
def test_maps_equal_the_reference(shared: Path, name: str, key: str) -> None:
    if (name, key) == WITHOUT_A_SURFACE:
        pytest.skip("the reference's value is no distance: it measures to a surface that is not there")
    vector = np.load(shared / "vectors" / f"{name}.npz")
    maps = ENCODERS[key].encode(vector["label"])
    assert maps.dtype == np.float32
    if key.startswith("x_5-3d-1-1"):  # the reference counts levels, 0 being outside
        maps = np.where(maps < 0, 0, np.rint(10 * maps) + 1)
    np.testing.assert_array_equal(maps, vector[key])


@pytest.mark.parametrize("name", VECTORS)
def test_no_target_of_the_reference_is_left_out(shared: Path, name: str) -> None:
    keys = set(np.load(shared / "vectors" / f"{name}.npz").files)
    weights = {"w_binary", "w_contour", "w_aff", "w_none"}  # those of the loss: tests/test_representation_loss.py
    assert keys - weights - {"label", "note"} == set(ENCODERS)


def test_foreground_is_any_instance() -> None:
    np.testing.assert_array_equal(Foreground().encode(np.array([[[0, 3, 7]]])), [[[[0, 1, 1]]]])


def test_contour_is_four_voxels_wide_and_leaves_the_border_alone() -> None:
    label = np.zeros((2, 3, 10), np.uint8)
    label[0, :, :5], label[0, :, 5:] = 1, 2
    maps = Contour().encode(label)
    np.testing.assert_array_equal(maps[0, 0], [[0, 0, 0, 1, 1, 1, 1, 0, 0, 0]] * 3)
    np.testing.assert_array_equal(maps[0, 1], 0)


def test_contour_does_not_look_between_sections() -> None:
    label = np.zeros((4, 6, 6), np.uint8)
    label[2:] = 1
    assert not Contour().encode(label).any()


def test_contour_without_dilation_is_two_voxels_wide() -> None:
    label = np.zeros((1, 7, 8), np.uint8)
    label[:, :, 4:] = 1
    assert Contour(dilation=0).encode(label)[0, 0, 3].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]


def test_contour_along_all_axes_parts_nuclei_that_lie_on_each_other() -> None:
    label = np.ones((6, 5, 5), np.uint8)
    label[3:] = 2
    outline = Contour(dilation=0, axes=[0, 1, 2]).encode(label)[0]
    assert outline[:, 2, 2].tolist() == [0, 0, 1, 1, 0, 0]


def test_contour_between_instances_leaves_the_background_alone() -> None:
    label = np.zeros((2, 3, 9), np.uint8)
    label[0, :, 1:4], label[0, :, 4:7] = 1, 2
    outline = Contour(background=False).encode(label)[0]
    np.testing.assert_array_equal(outline[0], [[0, 0, 0, 1, 1, 0, 0, 0, 0]] * 3)
    assert not outline[1].any()


@pytest.mark.parametrize(
    "settings", [{"dilation": 0, "background": False}, {"dilation": -1}, {"axes": []}, {"axes": [1, 3]}]
)
def test_contour_refuses_settings_without_a_meaning(settings: dict) -> None:
    with pytest.raises(InputError, match="Contour: found dilation"):
        Contour(**settings)


def test_affinity_compares_with_the_predecessor() -> None:
    label = np.array([[[1, 1, 2, 0, 0]]])
    z, y, x = Affinity().encode(label)
    np.testing.assert_array_equal(z[0, 0], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(y[0, 0], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(x[0, 0], [1, 1, 0, 0, 0])


def test_affinity_takes_long_offsets_of_both_signs() -> None:
    label = np.array([[[1, 1, 2, 1, 1]]])
    back, ahead, beyond = Affinity([(0, 0, -3), [0, 0, 2], (0, 0, 9)]).encode(label)
    np.testing.assert_array_equal(back[0, 0], [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(ahead[0, 0], [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(beyond[0, 0], [1, 1, 0, 1, 1])


def test_affinity_counts_its_offsets() -> None:
    assert Affinity([(-1, 0, 0), (0, -9, 0)]).channels == 2
    with pytest.raises(InputError, match="offsets"):
        Affinity([(1, 1)])


def test_distance_is_relative_to_the_largest_of_its_own_instance() -> None:
    label = np.zeros((1, 5, 12), np.uint8)
    label[0, :, :5], label[0, 1:4, 7:10] = 4, 9
    line = SignedDistance((9, 1, 1)).encode(label)[0, 0, 2]
    np.testing.assert_allclose(line, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, -1, -1, 0.5, 1, 0.5, -1, -1], atol=1e-6)


def test_distance_respects_the_spacing() -> None:
    label = np.ones((3, 9, 9), np.uint8)
    coarse, fine = (SignedDistance((z, 1, 1)).encode(label)[0, :, 4, 4] for z in (2.5, 1))
    np.testing.assert_allclose(coarse, [0.5, 1, 0.5], atol=1e-6)
    np.testing.assert_allclose(fine, [0.5, 1, 0.5], atol=1e-6)
    assert SignedDistance((1, 1, 1)).encode(label)[0, 1, 0, 4] == pytest.approx(0.5, abs=1e-6)
    assert SignedDistance((2.5, 1, 1)).encode(label)[0, 1, 0, 4] == pytest.approx(0.2, abs=1e-6)


def test_distance_measures_pieces_of_one_label_apart() -> None:
    label = np.zeros((1, 7, 14), np.uint8)
    label[0, 1:6, 1:6], label[0, 2:5, 9:12] = 1, 1
    distance = SignedDistance((9, 1, 1)).encode(label)[0, 0]
    np.testing.assert_allclose(distance[3, [3, 10]], 1, atol=1e-5)


def test_distance_fills_small_holes_alone() -> None:
    label = np.ones((9, 9, 9), np.uint8)
    label[4, 4, 4] = 0
    np.testing.assert_array_equal(SignedDistance().encode(label), SignedDistance().encode(np.ones((9, 9, 9), int)))
    label[3:6, 3:6, 3:6] = 0
    assert SignedDistance().encode(label)[0, 4, 4, 4] == -1


def test_an_instance_inside_another_keeps_the_larger_distance() -> None:
    label = np.ones((9, 9, 9), np.uint8)
    label[4, 4, 4] = 2
    assert SignedDistance().encode(label)[0, 4, 4, 4] == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(SignedDistance().encode(label)[0], slow_distance(label))


def test_six_voxels_around_one_make_a_hole() -> None:
    label = np.zeros((5, 5, 5), np.uint8)
    for axis in range(3):
        for step in (1, 3):
            index = [2, 2, 2]
            index[axis] = step
            label[tuple(index)] = 7
    distance = SignedDistance().encode(label)[0]
    assert distance[2, 2, 2] > 0
    np.testing.assert_array_equal(distance, slow_distance(label))


@pytest.mark.parametrize("seed", range(12))
def test_distance_equals_the_slow_one_on_ragged_labels(seed: int) -> None:
    label = blobs(seed)
    np.testing.assert_array_equal(SignedDistance().encode(label)[0], slow_distance(label))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{"border": False}, {"erosion": 1}, {"erosion": 2}])
def test_distance_with_options_equals_the_slow_one(seed: int, options: dict) -> None:
    label = blobs(seed)
    np.testing.assert_array_equal(SignedDistance(**options).encode(label)[0], slow_distance(label, **options))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{}, {"border": False}, {"erosion": 1}])
def test_distance_by_section_is_that_of_each_section(seed: int, options: dict) -> None:
    label = blobs(seed)
    label[2, :5, :5], label[2, 2, 2] = 1, 0  # a hole in the plane alone
    distance = SignedDistance((2, 1, 1.5), per_section=True, **options).encode(label)[0]
    expected = [slow_distance(section, (1, 1.5), **options) for section in label]
    np.testing.assert_array_equal(distance, expected)
    assert not np.array_equal(distance, SignedDistance((2, 1, 1.5), **options).encode(label)[0])


def test_levels_round_the_distance_down(balls: np.ndarray) -> None:
    smooth, stepped = SignedDistance().encode(balls), SignedDistance(levels=4).encode(balls)
    assert np.unique(stepped).tolist() == [-1, 0, 0.25, 0.5, 0.75]
    inside = balls[None] > 0
    assert (stepped[inside] <= smooth[inside]).all()
    assert (smooth[inside] - stepped[inside] < 0.25 + 1e-5).all()
    np.testing.assert_array_equal(stepped[~inside], -1)


def test_without_a_border_only_other_instances_and_background_are_surface() -> None:
    label = np.ones((1, 3, 11), np.uint8)
    label[..., 5:] = 0  # of 16 voxels and more: no hole
    line = SignedDistance((9, 1, 1), border=False).encode(label)[0, 0, 1]
    np.testing.assert_allclose(line[:6], [1, 0.8, 0.6, 0.4, 0.2, -1], atol=1e-5)
    whole = np.ones((3, 9, 9), np.uint8)
    np.testing.assert_array_equal(SignedDistance(border=False).encode(whole), SignedDistance().encode(whole))


@pytest.mark.parametrize("options", [{"levels": 1}, {"erosion": -1}, {"per_section": "perhaps"}])
def test_distance_options_without_a_meaning_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        SignedDistance(**options)


def test_distance_equals_the_slow_one_on_balls(balls: np.ndarray) -> None:
    np.testing.assert_array_equal(SignedDistance().encode(balls)[0], slow_distance(balls))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_type_gives_the_same_maps(balls: np.ndarray, dtype: type) -> None:
    maps = Representation([Foreground(), Contour(), SignedDistance(), Affinity()])
    np.testing.assert_array_equal(maps.encode(balls.astype(dtype)), maps.encode(balls))


def test_encoding_leaves_the_label_alone(balls: np.ndarray) -> None:
    before = balls.copy()
    Representation([Foreground(), Contour(), SignedDistance(), Affinity()]).encode(balls)
    np.testing.assert_array_equal(balls, before)


@pytest.mark.parametrize("label", [np.zeros((4, 4), int), np.zeros((2, 4, 4)), np.full((2, 4, 4), -1)])
@pytest.mark.parametrize("encoder", [Foreground(), Contour(), SignedDistance(), Affinity()])
def test_what_is_no_label_volume_is_refused(encoder, label: np.ndarray) -> None:
    with pytest.raises(InputError, match="whole numbers"):
        encoder.encode(label)


@pytest.mark.parametrize("spacing", [(1, 1), (0, 1, 1)])
def test_a_spacing_that_cannot_be_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="spacing"):
        SignedDistance(spacing)


def test_a_representation_stacks_its_maps_in_order(balls: np.ndarray) -> None:
    maps = Representation([SignedDistance(), Affinity(), Foreground()])
    assert maps.channels == 5
    assert maps.names == ["distance", "affinity", "foreground"]
    assert maps.channel_names == ["distance", "affinity 1", "affinity 2", "affinity 3", "foreground"]
    encoded = maps.encode(balls)
    assert encoded.shape == (5, *balls.shape)
    np.testing.assert_array_equal(encoded[4:], Foreground().encode(balls))
    np.testing.assert_array_equal(encoded[:1], SignedDistance().encode(balls))


def test_a_representation_activates_each_map_in_its_own_way() -> None:
    maps = Representation([Foreground(), SignedDistance()])
    logits = torch.tensor([-100.0, -100.0]).reshape(1, 2, 1, 1, 1)
    activated = maps.activate(logits)
    assert activated.flatten().tolist() == [0, -1]
    assert maps.to_unit(activated).flatten().tolist() == [0, 0]
    assert maps.to_unit(maps.activate(0 * logits)).flatten().tolist() == [0.5, 0.5]


def test_the_loss_is_the_sum_of_the_maps_with_the_published_weights(balls: np.ndarray) -> None:
    maps = Representation([Foreground(), Contour(), SignedDistance()])
    target = torch.from_numpy(maps.encode(balls))[None]
    logits = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    parts = [one.loss(logits[:, i : i + 1], target[:, i : i + 1]) for i, one in enumerate(maps.maps)]
    assert maps.loss(logits, target).item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)
    plain = Representation([Foreground(1, 0), Contour(1, 0), SignedDistance(mse_weight=1)])
    dice = Representation([Foreground(0, 1), Contour(0, 1), SignedDistance(mse_weight=0)])
    five = 4 * SignedDistance(mse_weight=1).loss(logits[:, 2:], target[:, 2:])
    expected = plain.loss(logits, target) + 0.5 * dice.loss(logits, target) + five
    assert maps.loss(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)


def test_right_logits_cost_less_than_wrong_ones(balls: np.ndarray) -> None:
    maps = Representation([Foreground(), Contour(), Affinity(), SignedDistance()])
    target = torch.from_numpy(maps.encode(balls))[None]
    right = torch.cat([20 * target[:, :-1] - 10, target[:, -1:].clamp(-0.999, 0.999).atanh()], dim=1)
    assert maps.loss(right, target) < 0.05 < maps.loss(-right, target)


def test_wrong_channel_counts_are_refused() -> None:
    maps = Representation([Foreground(), SignedDistance()])
    with pytest.raises(InputError, match="found 3 channels, expected 2"):
        maps.activate(torch.zeros(1, 3, 1, 1, 1))
    with pytest.raises(InputError, match="at least one"):
        Representation([])
