"""Splitting volumes, drawing patches from them, and the random streams behind that."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, RandAdjustContrastd, RandFlipd, RandScaleIntensityd
from monai.utils import set_determinism
from scripts.dataset import EndlessSampler, PatchPairs, PatchSampler, volume_items
from scripts.errors import InputError
from scripts.transforms import HoldOutd, RandGreyValued


def numbered(*shape: int) -> np.ndarray:
    """Volume (1, Z, Y, X) whose voxels are their own index: the first voxel of a patch tells where it was cut."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)


def sampler(volumes: list[dict[str, Any]], patch_size: tuple[int, ...], seed: int = 0, **options: Any) -> PatchSampler:
    return PatchSampler(volumes, patch_size, **options).set_random_state(seed)


# ---- lists of files --------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("image_1", "image_2", "label_1", "label_2", "alone"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((2, 4, 4), np.uint8))
    return tmp_path


def test_images_and_labels_are_paired_by_their_order(folder: Path) -> None:
    images, labels = ([str(folder / f"{kind}_{number}.tif") for number in (2, 1)] for kind in ("image", "label"))
    assert volume_items(images, labels) == [{"image": i, "label": m} for i, m in zip(images, labels, strict=True)]
    with pytest.raises(InputError, match="pair wrongly by their names"):
        volume_items(str(folder / "image_*.tif"), labels)


def test_an_unlabelled_domain_has_images_alone(folder: Path) -> None:
    assert [set(item) for item in volume_items(str(folder / "image_*.tif"))] == [{"image"}] * 2


def test_another_number_of_labels_than_images_is_an_error_that_names_them(folder: Path) -> None:
    with pytest.raises(InputError, match="2 images and 1 labels: expected one label for each image") as error:
        volume_items(str(folder / "image_*.tif"), str(folder / "alone.tif"))
    assert "image_2.tif" in str(error.value)
    assert "alone.tif" in str(error.value)


@pytest.mark.parametrize(("image", "label"), [("none_*.tif", None), ("image_1.tif", "none.tif")])
def test_a_name_that_means_no_file_is_an_error_that_says_it(folder: Path, image: str, label: str | None) -> None:
    with pytest.raises(InputError, match="none"):
        volume_items(str(folder / image), label and str(folder / label))


# ---- holding out -----------------------------------------------------------------------------------------------------
def parts(volume: Any, **options: Any) -> tuple[Any, Any]:
    data = {"image": volume}
    train, validation = (HoldOutd("image", part=part, **options)(data) for part in ("train", "validation"))
    return train["image"], validation["image"]


@pytest.mark.parametrize(("shape", "axis"), [((20, 6, 7), 1), ((5, 20, 7), 2), ((5, 6, 20), 3), ((20, 20, 20), 1)])
@pytest.mark.parametrize("fraction", [0.1, 0.33, 0.5])
def test_the_two_parts_cover_the_longest_side_without_overlap(shape: tuple, axis: int, fraction: float) -> None:
    volume = numbered(*shape)
    train, validation = parts(volume, fraction=fraction)
    np.testing.assert_array_equal(np.concatenate([train, validation], axis), volume)
    assert validation.shape[axis] == round(20 * fraction)


@pytest.mark.parametrize(
    ("length", "fraction", "min_size", "held_out"),
    [(20, 0.1, 5, 5), (20, 0.1, 12, 10), (20, 0.4, 5, 8), (3, 0.1, 1, 1), (20, 0.01, 1, 1), (21, 0.5, 1, 10)],
)
def test_the_held_out_part_has_its_least_length_but_half_at_most(length, fraction, min_size, held_out) -> None:
    train, validation = parts(numbered(1, 1, length), fraction=fraction, min_size=(9, 9, min_size))
    assert (train.shape[3], validation.shape[3]) == (length - held_out, held_out)


def test_a_fraction_of_zero_trains_and_validates_on_all() -> None:
    volume = numbered(4, 5, 6)
    for part in parts(volume, fraction=0.0, min_size=(9, 9, 9)):
        np.testing.assert_array_equal(part, volume)


def test_parts_are_views_and_the_input_stays_as_it_was() -> None:
    volume = numbered(4, 5, 16)
    data = {"image": volume, "label": volume > 3, "name": "a"}
    result = HoldOutd(["image", "label"], 0.25)(data)
    assert np.shares_memory(result["image"], volume)
    assert data["image"].shape == (1, 4, 5, 16)
    assert (result["image"].shape, result["label"].shape, result["name"]) == ((1, 4, 5, 12), (1, 4, 5, 12), "a")


def test_a_tensor_keeps_the_name_of_its_file() -> None:
    volume = MetaTensor(numbered(4, 5, 16), meta={"filename_or_obj": "x.tif"})
    _, validation = parts(volume, fraction=0.25)
    assert validation.meta["filename_or_obj"] == "x.tif"
    assert validation.data_ptr() == volume[..., 12:].data_ptr()


@pytest.mark.parametrize(("fraction", "part"), [(0.6, "train"), (-0.1, "train"), (0.1, "test")])
def test_a_part_that_does_not_exist_is_an_error(fraction: float, part: str) -> None:
    with pytest.raises(InputError, match=f"part '{part}', fraction {fraction}"):
        HoldOutd("image", fraction, part)


# ---- drawing patches -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, MetaTensor])
def test_patches_are_views_of_the_volume_wherever_it_came_from(kind: Any) -> None:
    volume = numbered(6, 12, 14).astype(np.float16) % 1000
    patches = sampler([{"image": kind(volume), "label": volume.astype(np.uint8)}], (3, 4, 5))
    patch = patches.draw()
    assert patch["image"].shape == patch["label"].shape == (3, 4, 5)
    assert (patch["image"].dtype, patch["label"].dtype) == (np.float16, np.uint8)
    assert np.shares_memory(patch["image"], volume)


def test_image_and_label_are_cut_at_the_same_place() -> None:
    volume = numbered(6, 12, 14)
    patches = sampler([{"image": volume, "label": volume.astype(np.int32)}], (3, 4, 5))
    for _ in range(10):
        patch = patches.draw()
        np.testing.assert_array_equal(patch["image"], patch["label"])


def test_every_position_is_drawn_up_to_both_borders() -> None:
    patches = sampler([{"image": numbered(3, 5, 4)}], (2, 3, 4))
    starts = Counter(int(patches.draw()["image"].flat[0]) for _ in range(300))
    assert set(starts) == {z * 20 + y * 4 for z in range(2) for y in range(3)}


def test_volumes_are_drawn_in_proportion_to_their_positions() -> None:
    volumes = [{"image": np.full((1, 4, 4, n), i, np.float32)} for i, n in enumerate((4, 7, 19))]
    patches = sampler(volumes, (4, 4, 4))
    drawn = Counter(int(patches.draw()["image"].flat[0]) for _ in range(2000))
    assert [drawn[i] / 2000 for i in range(3)] == pytest.approx([1 / 21, 4 / 21, 16 / 21], abs=0.03)


def half_labelled() -> list[dict[str, np.ndarray]]:
    """Nothing is labelled where x < 20, all where it is not."""
    label = np.zeros((1, 4, 4, 40), np.uint8)
    label[..., 20:] = 1
    return [{"image": numbered(4, 4, 40), "label": label}]


def labelled(patches: PatchSampler, draws: int = 300) -> list[int]:
    return [int(patches.draw()["label"].sum()) for _ in range(draws)]


@pytest.mark.parametrize("wanted", [(0.0, 1.0), (0.4, 0.6), (0.0, 0.2)])
def test_shares_of_foreground_span_the_range_that_is_asked_for(wanted: tuple[float, float]) -> None:
    patches = sampler(half_labelled(), (4, 4, 16), foreground_share=wanted, candidates=32)
    shares = np.array(labelled(patches)) / 256
    lowest, highest = wanted
    assert shares.min() <= lowest + 0.07
    assert shares.max() >= highest - 0.07
    assert ((shares >= lowest - 0.07) & (shares <= highest + 0.07)).mean() > 0.95
    assert np.histogram(shares, 2, wanted)[0].min() >= 60


@pytest.mark.parametrize(("size", "patch"), [((3, 8, 8), (5, 8, 8)), ((2, 3, 8), (9, 10, 4)), ((1, 1, 1), (3, 3, 3))])
def test_a_volume_smaller_than_the_patch_is_padded_by_reflection(size: tuple, patch: tuple, caplog) -> None:
    volume = numbered(*size)
    missing = [max(0, p - n) for n, p in zip(size, patch, strict=True)]
    expected = np.pad(volume[0], [(m // 2, m - m // 2) for m in missing], mode="symmetric")
    patches = sampler([{"image": volume, "label": volume.astype(np.int32)}], patch)
    np.testing.assert_array_equal(patches.volumes[0]["image"], expected)
    drawn = patches.draw()
    assert drawn["image"].shape == drawn["label"].shape == patch
    np.testing.assert_array_equal(drawn["image"], drawn["label"])
    assert f"shape {size}" in caplog.text


def test_a_sample_has_its_margin_and_its_volume_is_padded_for_it(caplog) -> None:
    volume = numbered(4, 9, 9)
    with caplog.at_level("INFO"):
        patches = sampler([{"image": volume}], (4, 6, 6), sample_size=(6, 9, 9))
    np.testing.assert_array_equal(
        patches.draw()["image"], np.pad(volume[0], ((1, 1), (0, 0), (0, 0)), mode="symmetric")
    )
    [said] = caplog.records
    assert "shape (4, 9, 9) (z, y, x) of what is trained on is below the sample (6, 9, 9)" in said.getMessage()
    assert said.levelname == "INFO"


def test_the_share_of_foreground_is_that_of_the_patch_within_the_sample() -> None:
    patches = sampler(half_labelled(), (4, 4, 4), sample_size=(4, 4, 20), foreground_share=(1, 1), candidates=64)
    for _ in range(20):
        assert patches.draw()["label"][:, :, 8:12].all()


def test_a_sample_smaller_than_the_patch_is_an_error() -> None:
    with pytest.raises(InputError, match=r"sample_size \(4, 4, 3\): expected no less than patch_size, \(4, 4, 4\)"):
        sampler(half_labelled(), (4, 4, 4), sample_size=(4, 4, 3))


def test_a_volume_as_large_as_the_patch_is_the_patch(caplog) -> None:
    volume = numbered(3, 4, 5)
    patch = sampler([{"image": volume}], (3, 4, 5)).draw()
    np.testing.assert_array_equal(patch["image"], volume[0])
    assert set(patch) == {"image"}
    assert caplog.text == ""


def test_without_a_volume_there_is_an_error() -> None:
    with pytest.raises(InputError, match="no volume to draw patches from"):
        PatchSampler([], (2, 2, 2))


# ---- pairs -----------------------------------------------------------------------------------------------------------
def pairs(length: int = 8, transform: Any = None, **sampling: Any) -> PatchPairs:
    source = [{"image": numbered(8, 16, 16), "label": (numbered(8, 16, 16) % 7).astype(np.uint16)}]
    target = [{"image": -numbered(10, 20, 20).astype(np.float16)[:, :, :16]}]
    return PatchPairs(source, target, (4, 8, 8), length, transform, **sampling)


def places(items: Any) -> list[tuple[float, float]]:
    """First voxels of the patches of X and Y."""
    return [(float(item["image_x"].flatten()[0]), float(item["image_y"].flatten()[0])) for item in items]


def test_an_item_holds_a_patch_of_each_domain() -> None:
    item = pairs()[0]
    assert {name: (tuple(v.shape), v.dtype) for name, v in item.items()} == {
        "image_x": ((1, 4, 8, 8), torch.float32),
        "label_x": ((1, 4, 8, 8), np.uint16),
        "image_y": ((1, 4, 8, 8), torch.float32),
    }
    np.testing.assert_array_equal(item["image_x"].numpy() % 7, item["label_x"])
    assert item["image_y"].max() <= 0 <= item["image_x"].min()


def test_a_patch_may_be_changed_without_changing_the_volume() -> None:
    data = pairs()
    kept = {key: array.copy() for key, array in data.source.volumes[0].items()}
    for item in (data[i] for i in range(8)):
        item["image_x"].zero_()
        item["label_x"][:] = 0
    for key, array in kept.items():
        np.testing.assert_array_equal(data.source.volumes[0][key], array)


def test_a_pass_has_the_length_that_is_asked_for() -> None:
    data = pairs(5)
    assert len(data) == len(list(data)) == 5
    assert data[5]["image_x"].shape == (1, 4, 8, 8)  # of the next pass
    with pytest.raises(IndexError):
        data[-1]


def test_only_the_source_is_chosen_by_its_labels() -> None:
    data = pairs(foreground_share=(0.1, 0.5), candidates=3)
    assert (data.source.foreground_share, data.source.candidates) == ((0.1, 0.5), 3)
    assert data.target.foreground_share is None


def chosen(augmentation: Any = None, draws: int = 300, **options: Any) -> list[int]:
    """Labelled voxels of source patches of 128 voxels, a third of which have less than 64."""
    data = PatchPairs(half_labelled(), half_labelled(), (4, 4, 8), draws, None, augmentation, seed=0, **options)
    return [int(item["label_x"].sum()) for item in data]


def test_patches_below_the_least_foreground_are_never_taken_if_always_rejected() -> None:
    found = chosen(min_foreground=64, reject_probability=1.0)
    assert (min(found), max(found)) == (64, 128)
    assert min(chosen()) == 0


def test_one_in_ten_patches_below_it_passes() -> None:
    below = [n < 64 for n in chosen(draws=2000, min_foreground=64)]
    share = 16 / 33  # of the positions; each trial ends with a poor patch by share * 0.1
    assert sum(below) / 2000 == pytest.approx(share * 0.1 / (1 - share * 0.9), abs=0.02)


def test_rejection_looks_at_the_label_after_augmentation() -> None:
    def emptied(sample: dict[str, Any]) -> dict[str, Any]:
        half = sample["label"].copy()
        half[..., 4:] = 0
        return {**sample, "label": half}

    found = chosen(emptied, min_foreground=64, reject_probability=1.0)
    assert set(found) == {64}
    assert min(chosen(emptied, min_foreground=48, reject_probability=1.0)) == 48


def test_redraws_are_bounded_where_no_patch_has_enough_and_y_is_never_drawn_again() -> None:
    trials: list[bool] = []

    def counted(sample: dict[str, Any]) -> dict[str, Any]:
        trials.append("label" in sample)
        return sample

    empty = {"image": numbered(4, 8, 8), "label": np.zeros((1, 4, 8, 8), np.uint8)}
    target = {"image": numbered(4, 8, 8)}
    options = {"min_foreground": 1, "reject_probability": 1.0, "max_trials": 7}
    data = PatchPairs([empty], [target], (2, 4, 4), 1, None, counted, **options)
    assert data[0]["label_x"].shape == (1, 2, 4, 4)
    assert trials == [True] * 7 + [False]


def test_where_patches_are_chosen_by_their_share_none_is_rejected() -> None:
    found = chosen(min_foreground=64, reject_probability=1.0, foreground_share=(0.0, 0.1))
    assert max(found) < 64


def test_augmentation_gets_each_sample_by_itself_and_names_tell_the_domain_afterwards() -> None:
    seen = []

    def cut(sample: dict[str, Any]) -> dict[str, Any]:
        seen.append({name: tuple(value.shape) for name, value in sample.items()})
        return {name: value[:, 1:-1, 2:-2, 2:-2] for name, value in sample.items()} | {"recon": 0}

    item = pairs(augmentation=cut, sample_size=(6, 12, 12))[0]
    assert seen == [{"image": (1, 6, 12, 12), "label": (1, 6, 12, 12)}, {"image": (1, 6, 12, 12)}]
    assert set(item) == {"image_x", "label_x", "recon_x", "image_y", "recon_y"}
    assert item["image_x"].shape == item["label_x"].shape == item["image_y"].shape == (1, 4, 8, 8)


def test_patches_of_another_size_than_was_asked_for_are_an_error() -> None:
    with pytest.raises(InputError, match=r"shape \(6, 12, 12\) after augmentation, expected patch_size, \(4, 8, 8\)"):
        pairs(sample_size=(6, 12, 12))[0]


def test_the_transform_gets_the_pair_and_its_result_is_the_item() -> None:
    assert pairs(transform=lambda pair: sorted(pair))[0] == ["image_x", "image_y", "label_x"]


def test_a_seed_repeats_patches_and_augmentation() -> None:
    augmentation = [RandFlipd("image_x", prob=0.5), RandScaleIntensityd("image_y", factors=0.5, prob=1.0)]
    runs = []
    for seed in (1, 1, 2):
        data = pairs(transform=Compose(augmentation), seed=seed)
        runs.append(torch.stack([torch.stack([item["image_x"], item["image_y"]]) for item in data]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_every_item_is_augmented_differently_whatever_seed_monai_was_given() -> None:
    blank = {"image": np.ones((1, 4, 4, 4), np.float32), "label": np.ones((1, 4, 4, 4), np.uint8)}
    brighten = RandScaleIntensityd("image_x", factors=0.5, prob=1.0)
    set_determinism(0)
    try:
        data = PatchPairs([blank], [blank], (4, 4, 4), 6, Compose([brighten]))
        factors = [round(float(item["image_x"].mean()), 5) for item in data]
    finally:
        set_determinism(None)
    assert len(set(factors)) == 6


def test_a_new_dataset_follows_the_seed_of_torch() -> None:
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(places(pairs()))
    assert runs[0] == runs[1] != runs[2]


def test_patches_of_the_domains_and_augmentations_are_independent_streams() -> None:
    parts = [Compose([RandAdjustContrastd(key, prob=1.0)]) for key in ("image_x", "image")]
    data = pairs(transform=parts[0], augmentation=parts[1], seed=3)
    data[0]
    streams = [part.R for part in (data.source, data.target, *(part.transforms[0] for part in parts))]
    assert len({stream.randint(2**31) for stream in streams}) == 4


def loaded(seed: int, workers: int, passes: int = 1) -> list[list[tuple[float, float]]]:
    torch.manual_seed(seed)
    loader = DataLoader(pairs(12), batch_size=1, num_workers=workers, sampler=EndlessSampler(12))
    return [places(loader) for _ in range(passes)]


def augmented(seed: int, workers: int, passes: int = 1, rank: int = 0) -> list[list[float]]:
    """Of items that differ by their augmentation alone: what each of both domains was multiplied by."""
    set_determinism(seed + rank)  # as multi_gpu_train.yaml does
    try:
        blank = {"image": np.ones((1, 4, 4, 4), np.float32), "label": np.ones((1, 4, 4, 4), np.uint8)}
        waves = RandGreyValued("image", prob=1.0, brightness=0.0, contrast=0.5)
        data = PatchPairs([blank], [{"image": 0.5 * blank["image"]}], (4, 4, 4), 12, None, Compose([waves]))
        loader = DataLoader(data, batch_size=1, num_workers=workers, sampler=EndlessSampler(12))
        return [[float(item["image_y"].mean()) for item in loader] for _ in range(passes)]
    finally:
        set_determinism(None)


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_differs_by_worker_pass_and_rank_and_repeats_from_a_seed(workers: int) -> None:
    first, second = augmented(0, workers, passes=2)
    assert len({*first, *second}) == 24, "no worker repeats another, no pass the one before"
    assert [first, second] == augmented(0, workers, passes=2)
    [other_rank] = augmented(0, workers, rank=1)
    assert set(first).isdisjoint(other_rank)


def test_workers_draw_different_patches_and_all_repeat_from_a_seed() -> None:
    first, second = loaded(0, workers=2, passes=2)
    assert len({*first, *second}) >= 22  # 2025 pairs of positions: more than two repeats are unlikely
    assert [first, second] == loaded(0, workers=2, passes=2)
    assert loaded(1, workers=2)[0] != first


def test_without_workers_a_seed_repeats_too_and_passes_differ() -> None:
    first, second = loaded(0, workers=0, passes=2)
    assert first != second
    assert [first, second] == loaded(0, workers=0, passes=2)
    assert loaded(1, workers=0)[0] != first


def test_the_number_of_workers_makes_no_difference() -> None:
    assert loaded(0, workers=0, passes=2) == loaded(0, workers=1, passes=2) == loaded(0, workers=3, passes=2)


def test_an_item_follows_from_seed_and_number_whatever_was_drawn_before() -> None:
    changes = Compose([RandFlipd("image", prob=0.5), RandScaleIntensityd("image", factors=0.5, prob=1.0)])
    data = pairs(augmentation=changes, seed=5, min_foreground=3)
    first = {index: data[index] for index in (7, 1, 10**9)}
    again = {index: data[index] for index in (10**9, 1, 3, 7)}
    for index, item in first.items():
        assert all(torch.equal(torch.as_tensor(item[key]), torch.as_tensor(again[index][key])) for key in item)
    assert not torch.equal(first[7]["image_x"], first[1]["image_x"])


@pytest.mark.parametrize("iteration", [0, 1, 4, 5, 6, 10, 13])
def test_the_sampler_goes_on_in_the_midst_of_a_pass_and_ends_where_it_would_have_ended(iteration: int) -> None:
    sampler = EndlessSampler(10, batch_size=2)
    everything = [number for _ in range(4) for number in sampler]
    assert everything == list(range(40))
    sampler.go_to(iteration)
    passes = [list(sampler) for _ in range(2)]
    assert passes[0] + passes[1] == everything[2 * iteration :][: len(passes[0]) + 10]
    assert passes[0][-1] % 10 == 9
    assert len(sampler) == 10


def test_shapes_tell_what_patches_are_drawn_from() -> None:
    assert pairs().shapes == {"x": [[8, 16, 16]], "y": [[10, 16, 20]]}


def test_a_loader_stacks_pairs_to_batches() -> None:
    [batch, rest] = DataLoader(pairs(3), batch_size=2)
    assert batch["image_x"].shape == batch["label_x"].shape == batch["image_y"].shape == (2, 1, 4, 8, 8)
    assert len(rest["image_x"]) == 1
