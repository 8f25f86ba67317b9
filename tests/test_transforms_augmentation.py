"""What each random transform of sections changes, and what it leaves as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose
from scipy import ndimage as ndi
from scripts import transforms
from scripts.dataset import PatchPairs
from scripts.errors import InputError
from scripts.transforms import (
    RandCutBlur,
    RandCutNoise,
    RandDensityd,
    RandElasticInPlane,
    RandGreyValue,
    RandMisalignment,
    RandMisalignmentd,
    RandMissingParts,
    RandMissingSection,
    RandMissingSectiond,
    RandMotionBlur,
    RandRescaleInPlane,
)
from scripts.transforms.warp import plane, warped

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
GEOMETRY = ["RandMisalignment", "RandMissingSection", "RandElasticInPlane", "RandRescaleInPlane"]
DEFECTS = ["RandCutNoise", "RandCutBlur", "RandMotionBlur", "RandMissingParts"]
ALL = [*GEOMETRY, "RandGreyValue", *DEFECTS]
SEEDS = range(20)


def grey(*shape: int, seed: int = 0) -> np.ndarray:
    """Smooth random volume (1, Z, Y, X), float32 in [0.1, 0.9]."""
    noise = ndi.gaussian_filter(np.random.default_rng(seed).uniform(size=shape), 1)
    return (0.1 + 0.8 * (noise - noise.min()) / np.ptp(noise)).astype(np.float32)[None]


def numbered(*shape: int) -> np.ndarray:
    """Whole numbers (1, Z, Y, X), each voxel another."""
    return np.arange(np.prod(shape)).reshape(1, *shape)


def made(name: str, seed: int = 0, **options: Any) -> Any:
    return getattr(transforms, name)(**{"prob": 1.0, **options}).set_random_state(seed)


def box(changed: np.ndarray) -> list[tuple[int, int]]:
    """First and last place along each axis of (Z, Y, X) that is changed."""
    return [(int(found.min()), int(found.max()) + 1) for found in np.nonzero(changed)]


# ---- of every transform ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, MetaTensor])
def test_kind_type_and_input_stay(name: str, kind: Callable[[Any], Any]) -> None:
    volume = grey(9, 24, 20)
    given = kind(volume.copy())
    changed = made(name)(given)
    assert type(changed) is type(given)
    assert changed.dtype == given.dtype
    np.testing.assert_array_equal(np.asarray(given), volume)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    lost = 2 if name == "RandMissingSection" else 0
    assert tuple(changed.shape) == (1, 9 - lost, 24, 20)
    assert lost or not np.array_equal(np.asarray(changed), volume)


@pytest.mark.parametrize("name", ALL)
def test_a_probability_of_zero_changes_nothing(name: str) -> None:
    volume, never = grey(9, 24, 20), made(name, prob=0.0)
    assert all(never(volume) is volume for _ in SEEDS)


@pytest.mark.parametrize("name", ALL)
def test_the_probability_is_how_often_it_is_done(name: str) -> None:
    volume, seldom = grey(5, 8, 8), made(name, prob=0.25)
    done = sum(seldom(volume) is not volume for _ in range(400))
    assert done / 400 == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("name", ALL)
def test_a_seed_repeats_and_draws_differ(name: str) -> None:
    volume, runs = grey(9, 24, 20), []
    for seed in (3, 3, 4):
        transform = made(name, seed)
        runs.append([transform(volume) for _ in range(4)])
    first, again, other = ([volume.tobytes() for volume in run] for run in runs)
    assert first == again != other
    assert len(set(first)) > 1


@pytest.mark.parametrize("name", ALL)
def test_a_last_draw_can_be_repeated(name: str) -> None:
    volume, transform = grey(9, 24, 20), made(name)
    first = transform(volume)
    np.testing.assert_array_equal(transform(volume, randomize=False), first)


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_volume_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: found shape \(9, 24, 20\), expected \(C, Z, Y, X\)"):
        made(name)(grey(9, 24, 20)[0])


@pytest.mark.parametrize("name", ALL)
def test_the_dictionary_form_does_the_same_to_each_key(name: str) -> None:
    volume = grey(9, 24, 20)
    changed = getattr(transforms, f"{name}d")(["a", "b"], prob=1.0).set_random_state(1)({"a": volume, "b": volume})
    np.testing.assert_array_equal(changed["a"], changed["b"])
    assert not np.array_equal(changed["a"], volume)


@pytest.mark.parametrize("name", ALL)
def test_a_compose_seeds_the_dictionary_form(name: str) -> None:
    volume, runs = grey(9, 24, 20), []
    for seed in (1, 1, 2):
        composed = Compose([getattr(transforms, f"{name}d")("a", prob=1.0)])
        composed.set_random_state(seed)
        runs.append(composed({"a": volume})["a"])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


# ---- image and label -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_labels_keep_type_and_ids(name: str, dtype: Any, balls: np.ndarray) -> None:
    label = balls[None].astype(dtype)
    for seed in SEEDS:
        moved = made(name, seed)(label)
        assert moved.dtype == dtype
        assert set(np.unique(moved)) <= set(np.unique(label))


@pytest.mark.parametrize("name", GEOMETRY)
def test_image_and_label_move_together(name: str, balls: np.ndarray) -> None:
    """An image that is the mask of the label is so afterwards too, but for where it is interpolated."""
    label = balls[None]
    transform = getattr(transforms, f"{name}d")(["image", "label"], prob=1.0).set_random_state(0)
    for _ in SEEDS:
        moved = transform({"image": (label > 0).astype(np.float32), "label": label})
        assert moved["image"].shape == moved["label"].shape
        differ = np.abs(moved["image"] - (moved["label"] > 0))
        assert differ.max() <= 0.75 + 1e-3  # the nearest of four voxels weighs a quarter at least
        assert differ.mean() < 0.03


def test_a_missing_label_is_passed_over_only_if_that_is_asked_for() -> None:
    volume = {"image": grey(9, 24, 20)}
    assert set(RandMisalignmentd(["image", "label"], prob=1.0, allow_missing_keys=True)(volume)) == {"image"}
    with pytest.raises(KeyError):
        RandMisalignmentd(["image", "label"], prob=1.0)(volume)


def test_volumes_of_different_shapes_are_an_error() -> None:
    with pytest.raises(InputError, match="expected volumes of one shape"):
        RandMissingSectiond(["a", "b"], prob=1.0)({"a": grey(9, 8, 8), "b": grey(8, 8, 8)})


# ---- warping ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_warping_is_interpolation_with_reflection(seed: int) -> None:
    image, label = grey(3, 14, 17, seed=seed), numbered(3, 14, 17)
    places = plane((14, 17)) + np.random.default_rng(seed).uniform(-9, 9, (2, 14, 17)).astype(np.float32)
    moved, moved_label = warped(image, places), warped(label, places)
    for section in range(3):
        wanted = ndi.map_coordinates(image[0, section], places, order=1, mode="mirror")
        np.testing.assert_allclose(moved[0, section], wanted, atol=1e-5)
        wanted = ndi.map_coordinates(label[0, section], places, order=0, mode="mirror")
        np.testing.assert_array_equal(moved_label[0, section], wanted)


def test_warping_to_the_same_places_changes_nothing() -> None:
    image, label = grey(3, 14, 17), numbered(3, 14, 17)
    np.testing.assert_allclose(warped(image, plane((14, 17))), image, atol=1e-6)
    np.testing.assert_array_equal(warped(label, plane((14, 17))), label)
    assert warped(image.astype(np.float16), plane((14, 17))).dtype == np.float16


def test_an_elastic_field_is_that_of_simard_and_the_same_in_all_sections() -> None:
    sections = np.repeat(numbered(1, 96, 96), 4, axis=1)
    deviations, largest = [], []
    for seed in SEEDS:
        transform = RandElasticInPlane(1.0, alpha=16, sigma=4).set_random_state(seed)
        moved = transform(sections)
        assert (moved == moved[:, :1]).all()
        shifts = (transform.places - plane((96, 96)))[:, 16:-16, 16:-16]  # reflected noise is stronger at the border
        deviations.append(shifts.std())
        largest.append(np.abs(shifts).max())
    # even noise has a deviation of 1 / sqrt(3), and a Gaussian keeps 1 / (2 sqrt(pi) sigma) of it
    assert np.mean(deviations) == pytest.approx(16 / np.sqrt(3) / (2 * np.sqrt(np.pi) * 4), rel=0.06)
    assert max(largest) < 4


def test_each_axis_of_the_plane_is_rescaled_by_its_own_factor_about_the_centre() -> None:
    _, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (3, 41, 41)), indexing="ij")
    block = ((np.abs(y) <= 8) & (np.abs(x) <= 8)).astype(np.uint8)[None]
    factors = []
    for seed in range(60):
        moved = RandRescaleInPlane(1.0).set_random_state(seed)(block)[0]
        (first, last), *plane_box = box(moved)
        assert (first, last) == (0, 3)
        for low, high in plane_box:
            assert low + high == 41, "about the centre"
        factors.append([(high - low) / 17 for low, high in plane_box])
    heights, widths = np.array(factors).T
    for sides in (heights, widths):
        assert 0.75 <= sides.min() <= 0.86
        assert 1.18 <= sides.max() <= 1.3
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.4


@pytest.mark.parametrize("factors", [(1.2, 0.8), (0.0, 1.0), (1.0,)])
def test_factors_that_are_no_range_are_an_error(factors: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(lowest, highest\) above 0"):
        RandRescaleInPlane(1.0, factors)


# ---- sections --------------------------------------------------------------------------------------------------------
def offsets(moved: np.ndarray, width: int) -> np.ndarray:
    """(Z, 2): where the middle voxel of each section of `numbered` came from, against where it is."""
    middle = np.array(moved.shape[2:]) // 2
    voxel = moved[0, :, middle[0], middle[1]] % (width * width)
    return np.stack([voxel // width, voxel % width], axis=1) - middle


@pytest.mark.parametrize("slip", [1.0, 0.0])
def test_a_shift_sets_one_section_or_all_that_follow_apart(slip: float) -> None:
    groups, apart = set(), []
    for seed in range(80):
        moved = RandMisalignment(1.0, 16, rotation=0.0, slip=slip).set_random_state(seed)(numbered(7, 48, 48))
        shifts = offsets(moved, 48)
        assert np.abs(shifts).max() <= 8
        differ = [index for index in range(7) if (shifts[index] != shifts[0]).any()]
        groups.add(tuple(differ))
        apart.append(np.abs(shifts - shifts[0]).max())
        inside = moved[0, :, 8:-8, 8:-8]
        assert ((inside - inside[:, :1, :1]) == (numbered(1, 48, 48)[0, :, 8:-8, 8:-8] - 392)).all(), (
            "shifted as a whole"
        )
    groups.discard(())
    wanted = {(index,) for index in range(1, 6)} if slip else {tuple(range(index, 7)) for index in range(1, 6)}
    assert groups == wanted
    assert max(apart) in (15, 16)


@pytest.mark.parametrize("slip", [1.0, 0.0])
def test_a_turn_leaves_the_other_sections_and_moves_corners_by_the_displacement_at_most(slip: float) -> None:
    label, turned, corners = numbered(7, 49, 49), set(), []
    for seed in range(60):
        transform = RandMisalignment(1.0, 16, rotation=1.0, slip=slip).set_random_state(seed)
        moved = transform(label)
        differ = [index for index in range(7) if (moved[0, index] != label[0, index]).any()]
        turned.add(tuple(differ))
        assert (moved[0, :, 24, 24] == label[0, :, 24, 24]).all(), "about the centre"
        corners.append(np.linalg.norm((transform.places[1] - plane((49, 49)))[:, 0, 0]))
        distances = np.linalg.norm(transform.places[1] - 24, axis=0)
        np.testing.assert_allclose(distances, np.linalg.norm(plane((49, 49)) - 24, axis=0), atol=1e-4)
    wanted = {(index,) for index in range(1, 6)} if slip else {tuple(range(index, 7)) for index in range(1, 6)}
    assert turned - {()} == wanted
    assert 14 < max(corners) <= 16 + 1e-3


def test_half_are_turns_and_half_are_slips() -> None:
    volume, transform = numbered(7, 32, 32), RandMisalignment(1.0).set_random_state(0)
    kinds = []
    for _ in range(300):
        transform(volume)
        kinds.append((transform.places[0] is None, transform.moved.stop is not None))
    assert np.mean(kinds, axis=0) == pytest.approx([0.5, 0.5], abs=0.08)


def test_missing_sections_are_inner_ones_and_the_rest_closes_up() -> None:
    lost = set()
    for seed in range(60):
        left = RandMissingSection(1.0, 2).set_random_state(seed)(numbered(6, 4, 4))[0, :, 0, 0] // 16
        assert list(left) == sorted(left)
        assert (len(left), left[0], left[-1]) == (4, 0, 5)
        lost.add(tuple(sorted(set(range(6)) - set(left.tolist()))))
    assert lost == {(a, b) for a in range(1, 5) for b in range(a + 1, 5)}


def test_too_few_sections_to_lose_any_are_an_error() -> None:
    assert RandMissingSection(1.0, 2)(numbered(4, 4, 4)).shape == (1, 2, 4, 4)
    with pytest.raises(InputError, match="found 3 sections, expected 4 or more"):
        RandMissingSection(1.0, 2)(numbered(3, 4, 4))


# ---- grey values -----------------------------------------------------------------------------------------------------
def test_grey_values_are_scaled_shifted_clipped_and_raised() -> None:
    volume, transform = grey(5, 16, 16), RandGreyValue(1.0).set_random_state(0)
    drawn = []
    for _ in range(200):
        changed = transform(volume)
        factor, shift, exponent = transform.factor, transform.shift, transform.exponent
        np.testing.assert_allclose(changed, np.clip(volume * factor + shift, 0, 1) ** exponent, atol=1e-5)
        drawn.append((factor, shift, np.log2(exponent)))
    low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
    np.testing.assert_allclose(low, [0.85, -0.15, -1], atol=0.04)
    np.testing.assert_allclose(high, [1.15, 0.15, 1], atol=0.04)
    assert (low >= [0.85, -0.15, -1]).all()
    assert (high <= [1.15, 0.15, 1]).all()


# ---- defects ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["RandCutNoise", "RandCutBlur"])
def test_a_cuboid_of_two_fifths_of_each_side_is_changed_and_nothing_else(name: str) -> None:
    volume, starts = grey(10, 30, 20), []
    for seed in range(60):
        changed = made(name, seed)(volume)[0] != volume[0]
        found = box(changed)
        assert all(high - low <= side for (low, high), side in zip(found, (4, 12, 8), strict=True))
        assert changed.sum() > 0.8 * 4 * 12 * 8
        starts.append([low for low, _ in found])
    assert (np.min(starts, axis=0) <= 1).all()
    assert (np.max(starts, axis=0) >= [5, 16, 11]).all(), "anywhere in the volume"


def test_noise_is_even_and_stays_in_range() -> None:
    noisy = RandCutNoise(1.0).set_random_state(0)(np.full((1, 20, 60, 60), 0.5, np.float32))
    noise = noisy[noisy != 0.5] - 0.5
    assert np.abs(noise).max() <= 0.3
    assert noise.std() == pytest.approx(0.3 / np.sqrt(3), rel=0.05)
    clipped = RandCutNoise(1.0).set_random_state(0)(np.ones((1, 20, 60, 60), np.float32))
    assert clipped.max() == 1
    assert ((clipped == 1).sum() - 20 * 60 * 60 * (1 - 0.4**3)) / (20 * 60 * 60 * 0.4**3) == pytest.approx(
        0.5, abs=0.05
    )


def test_a_cut_blur_keeps_means_and_sections_and_leaves_blocks() -> None:
    volume = np.random.default_rng(0).uniform(size=(1, 10, 40, 40)).astype(np.float32)
    for seed in SEEDS:
        transform = RandCutBlur(1.0, factors=(2, 4)).set_random_state(seed)
        blurred = transform(volume)
        part, before = blurred[transform.box], volume[transform.box]
        side = int(16 / transform.factor)
        for section, original in zip(part[0], before[0], strict=True):
            assert len(np.unique(section)) == side**2, "one grey value a block"
            assert section.mean() == pytest.approx(original.mean(), abs=0.06)
            assert section.std() < 0.7 * original.std()


def test_two_sections_are_smeared_along_one_axis() -> None:
    axes = set()
    point = np.zeros((1, 6, 31, 31), np.float32)
    point[..., 15, 15] = 1
    for seed in SEEDS:
        smeared = RandMotionBlur(1.0, 2, 11).set_random_state(seed)(point)[0]
        changed = [index for index in range(6) if (smeared[index] != point[0, index]).any()]
        assert len(changed) == 2
        for index in changed:
            wanted = np.zeros((31, 31), np.float32)
            wanted[10:21, 15] = 1 / 11
            along_y = bool(smeared[index, 10, 15])
            np.testing.assert_allclose(smeared[index], wanted if along_y else wanted.T, atol=1e-6)
        axes.add(along_y)
    assert axes == {True, False}


def test_missing_parts_are_the_mean_of_their_section_in_a_band() -> None:
    volume, covered = grey(8, 100, 100), []
    for seed in SEEDS:
        filled = RandMissingParts(1.0).set_random_state(seed)(volume)[0]
        for before, after in zip(volume[0], filled, strict=True):
            changed = before != after
            if changed.any():
                np.testing.assert_allclose(after[changed], before.mean(), rtol=1e-5)
                covered.append(changed.mean())
    assert np.percentile(covered, 10) > 0.4
    assert 0.58 < max(covered) < 0.61


@pytest.mark.parametrize("spared", [0, 1, 2])
def test_nine_in_ten_sections_lose_parts_but_for_those_spared(spared: int) -> None:
    transform = RandMissingParts(1.0, spared=spared).set_random_state(0)
    volume, runs = grey(40, 8, 8), []
    for _ in range(40):
        transform(volume)
        sections = sorted(transform.bands)
        assert np.diff(sections).min() > spared
        runs.append(len(sections) / 40)
    assert np.mean(runs) == pytest.approx(0.9 / (1 + 0.9 * spared), abs=0.04)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_band_is_a_line_dilated_by_a_cross(seed: int) -> None:
    """As published; but the line does not end at the edge of the section."""
    band = RandMissingParts(1.0, half_width=0.2).set_random_state(seed)._band((50, 50))
    random = np.random.RandomState(seed)
    downwards, (start, end) = random.uniform() < 0.5, random.uniform(0, 49, 2)
    line = np.zeros((50, 50), bool)
    line[np.arange(50), np.rint(np.linspace(start, end, 50)).astype(int)] = True
    dilated = ndi.binary_dilation(line if downwards else line.T, iterations=10)
    assert (band != dilated).mean() < 0.06


# ---- the set of train.yaml -------------------------------------------------------------------------------------------
PATCH = [8, 40, 40]
NOISE_ALONE = {f"augmentation#{name}": 0.0 for name in ("cut_blur", "motion_blur", "missing_parts")}
NOISE_ALONE["augmentation#cut_noise"] = 1.0


def configured(*overlays: str, **changes: Any) -> PatchPairs:
    """Pairs as train.yaml draws them, of small volumes."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("train", *overlays)])
    for key, value in {"patch_size": PATCH, "bundle_root": str(CONFIGS.parent), **changes}.items():
        parser[key] = value
    part = parser.get_parsed_content
    x, y = ({"image": grey(20, 90, 90, seed=seed), "label": (grey(20, 90, 90, seed=seed) > 0.5) * 1} for seed in (0, 1))
    sampling = {name: part(name) for name in ("sample_size", "min_foreground")}
    transform, augmentation = part("train#patches#transform"), part("random_transforms")
    return PatchPairs([x], [{"image": y["image"]}], PATCH, 200, transform, augmentation, seed=0, **sampling)


@pytest.mark.parametrize("overlays", [(), ("light_augmentation",), ("ablation_no_input_defects",), ("demo",)])
def test_items_are_what_the_trainer_wants(overlays: tuple[str, ...]) -> None:
    pairs = configured(*overlays)
    for index in range(5):
        item = pairs[index]
        assert {name: tuple(value.shape) for name, value in item.items()} == {
            **dict.fromkeys(["image_x", "image_y", "recon_x", "recon_y"], (1, *PATCH)),
            "target_x": (3, *PATCH),
        }
        for name, value in item.items():
            assert type(value) is torch.Tensor
            assert value.dtype == torch.float32
            assert overlays == ("light_augmentation",) or -1 <= value.min() <= value.max() <= 1, name


def test_without_defects_the_input_is_what_is_to_be_restored() -> None:
    pairs = configured("ablation_no_input_defects")
    for item in (pairs[index] for index in range(5)):
        assert torch.equal(item["image_x"], item["recon_x"])
        assert torch.equal(item["image_y"], item["recon_y"])


def test_outside_the_defects_the_input_is_what_is_to_be_restored() -> None:
    pairs = configured(**NOISE_ALONE)
    for item in (pairs[index] for index in range(10)):
        for domain in "xy":
            differ = (item[f"image_{domain}"] != item[f"recon_{domain}"])[0].numpy()
            assert differ.any(), "each domain has its defects"
            assert all(high - low <= 0.4 * side for (low, high), side in zip(box(differ), PATCH, strict=True))


@pytest.mark.parametrize("overlays", [(), ("light_augmentation",)])
def test_patches_of_x_can_be_brought_to_another_density(overlays: tuple[str, ...]) -> None:
    def shares(**changes: Any) -> list[float]:
        pairs = configured(*overlays, min_foreground=0, **changes)
        return [float((pairs[index]["target_x"][0] > 0).float().mean()) for index in range(8)]

    thinned = shares(**{"density#prob": 1.0, "density#share": [0.0, 0.0]})
    assert max(thinned) < 0.01 < min(shares())


def test_both_domains_have_their_own_draws() -> None:
    pairs = configured(**NOISE_ALONE)
    boxes = []
    for item in (pairs[index] for index in range(5)):
        boxes += [tuple(box((item[f"image_{d}"] != item[f"recon_{d}"])[0].numpy())) for d in "xy"]
    assert len(set(boxes)) > 5


def test_targets_are_those_of_the_image_that_is_to_be_restored() -> None:
    """The label was cut at a grey value; so it is still, whatever became of both, but for interpolation."""
    pairs = configured(**{"augmentation#grey_value": 0.0})
    for item in (pairs[index] for index in range(10)):
        assert ((item["recon_x"][0] > 0) != (item["target_x"][0] > 0.5)).float().mean() < 0.12


def test_every_turn_and_reflection_of_the_plane_is_equally_likely() -> None:
    never = dict.fromkeys(("misalignment", "missing_section", "elastic", "rescale", "grey_value"), 0.0)
    pairs = configured("ablation_no_input_defects", **{f"augmentation#{name}": prob for name, prob in never.items()})
    corner = np.zeros((1, 10, 58, 58), np.float32)
    corner[:, 2, 9, 12] = 1  # no turn or reflection leaves it where it is
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(480):
        turned = pairs.augmentation({"image": torch.as_tensor(corner)})["image"]
        place = tuple(int(index) for index in torch.nonzero(torch.as_tensor(turned)[0] > 0)[0])
        seen[place] = seen.get(place, 0) + 1
    assert len(seen) == 16
    assert all(12 < count < 52 for count in seen.values())


# ---- density ---------------------------------------------------------------------------------------------------------
def columns(count: int) -> dict[str, np.ndarray]:
    """`count` x `count` bright columns of 6 x 6 voxels on a dark ground, (1, 8, 48, 48), each with its own id."""
    label = np.zeros((1, 8, 48, 48), np.uint16)
    for number, (row, column) in enumerate(np.ndindex(count, count), 1):
        label[0, 1:7, 3 + 11 * row : 9 + 11 * row, 3 + 11 * column : 9 + 11 * column] = number
    noise = np.random.default_rng(0).normal(0, 0.02, label.shape)
    return {"image": (0.2 + 0.6 * (label > 0) + noise).astype(np.float32), "label": label}


def share(data: dict[str, np.ndarray]) -> float:
    return float((data["label"] > 0).mean())


@pytest.mark.parametrize("seed", range(5))
def test_objects_are_removed_whole_and_leave_background(seed: int) -> None:
    before = columns(4)
    after = RandDensityd((0.05, 0.05)).set_random_state(seed)(before)
    kept = after["label"] > 0
    one = share(before) / 16
    assert 0.05 - one < share(after) <= 0.05
    assert np.array_equal(after["label"][kept], before["label"][kept])
    assert set(np.unique(after["label"], return_counts=True)[1][1:]) == {6 * 6 * 6}
    assert np.array_equal(after["image"][kept], before["image"][kept])
    gone = (before["label"] > 0) & ~kept
    assert after["image"][gone].max() < 0.4
    assert abs(after["image"][gone].mean() - 0.2) < 0.03
    assert 0.5 < after["image"][gone].std() / 0.02 < 1.5


def test_haze_is_what_is_left_of_the_light_of_removed_objects() -> None:
    clear, hazy = (RandDensityd((0.0, 0.0), haze=haze).set_random_state(3)(columns(4)) for haze in (0.0, 1.0))
    assert hazy["image"].mean() > clear["image"].mean() + 0.02
    assert hazy["image"].max() < 0.6


@pytest.mark.parametrize("seed", range(5))
def test_objects_that_are_added_are_copies_beside_those_there(seed: int) -> None:
    before = columns(2)
    after = RandDensityd((0.15, 0.2)).set_random_state(seed)(before)
    there = before["label"] > 0
    assert share(after) > 2 * share(before)
    assert np.array_equal(after["label"][there], before["label"][there])
    assert np.array_equal(after["image"][there], before["image"][there])
    added = (after["label"] > 0) & ~there
    assert not set(np.unique(after["label"][added])) & set(np.unique(before["label"][there]))
    assert after["image"][added].min() > 0.6
    assert np.unique(after["label"][added], return_counts=True)[1].min() >= 0.8 * 6 * 6 * 6


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint64])
def test_added_objects_have_ids_of_their_own_whatever_those_there_are(kind: type[np.unsignedinteger]) -> None:
    data = columns(2)
    data["label"] = np.where(data["label"] > 0, np.iinfo(kind).max - 4 + data["label"].astype(kind), 0).astype(kind)
    after = RandDensityd((0.15, 0.2)).set_random_state(0)(data)["label"]
    pieces, count = ndi.label(after[0] > 0)
    assert count > 4
    assert all(len(np.unique(after[0][pieces == piece])) == 1 for piece in range(1, count + 1))
    assert len(np.unique(after)) == count + 1


def test_density_is_left_alone_without_label_or_luck() -> None:
    data = columns(3)
    transform = RandDensityd((0.0, 0.0))
    assert np.array_equal(transform({"image": data["image"]})["image"], data["image"])
    assert np.array_equal(RandDensityd((0.0, 0.0), prob=0.0)(data)["label"], data["label"])
    empty = {"image": data["image"], "label": np.zeros_like(data["label"])}
    assert np.array_equal(RandDensityd((0.5, 0.5))(empty)["label"], empty["label"])


def test_a_volume_that_is_all_objects_can_be_thinned() -> None:
    label = np.kron(np.arange(1, 17).reshape(1, 1, 4, 4), np.ones((1, 8, 12, 12), int))
    after = RandDensityd((0.3, 0.3)).set_random_state(0)({"image": grey(8, 48, 48), "label": label})
    assert share(after) <= 0.3
    assert np.isfinite(after["image"]).all()


@pytest.mark.parametrize("wrong", [(0.5, 0.2), (-0.1, 0.5), (0.0, 1.5)])
def test_a_range_of_shares_that_is_none_is_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        RandDensityd(wrong)
