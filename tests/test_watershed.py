"""The watershed: the reference's vectors, small volumes a person can check, and the command line."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import ndimage
from scripts.errors import InputError
from scripts.metrics import match_instances
from scripts.representation import Affinity
from scripts.volume_io import read_volume, write_volume
from scripts.watershed import (
    STAGES,
    AffinityWatershed,
    BCDWatershed,
    BCWatershed,
    affinity_watershed,
    bc_watershed,
    bcd_watershed,
)
from scripts.watershed.__main__ import main
from scripts.watershed.small_instance import handle_small
from skimage import measure, morphology
from skimage.transform import resize

import oracle

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
NAMES = {
    "thres1": "seed_foreground",
    "thres2": "seed_contour",
    "thres3": "mask_foreground",
    "thres4": "seed_distance",
    "thres5": "mask_distance",
    "seed_thres": "min_seed_size",
    "thres_small": "min_instance_size",
    "remove_small_mode": "small_mode",
}
VECTORS = [
    "bcd_01_touching_readme_u8",
    "bcd_03_small_removed_u8",
    "bcd_03b_small_none_u8",
    "bcd_04_empty_u8",
    "bcd_05_fg_no_seed_u8",
    "bcd_06_float255_readme",
    "bcd_08_nondefault_thres_u8",
    "bcd_11_threshold_edges_u8",
    "bcd_12_precomputed_seed_u8",
    "bcd_13_diag_seeds_26conn_u8",
]
ANY_SIZE: dict[str, Any] = {"min_seed_size": 0, "min_instance_size": 0}


def vector(shared: Path, name: str) -> tuple[np.lib.npyio.NpzFile, dict]:
    case = np.load(shared / "vectors" / f"{name}.npz")
    options = {NAMES[key]: value for key, value in json.loads(str(case["kwargs"])).items()}
    if "precomputed_seed" in case.files:
        options["seeds"] = case["precomputed_seed"]
    return case, options


def row(foreground: list[int], contour: list[int], distance: list[int]) -> np.ndarray:
    """Maps of one line of voxels, (3, 1, 1, X)."""
    return np.array([foreground, contour, distance], np.uint8)[:, None, None]


def noisy_maps(seed: int, shape: tuple[int, ...] = (12, 40, 44)) -> np.ndarray:
    """Bytes with plateaus at 255, (3, Z, Y, X)."""
    rng = np.random.default_rng(seed)
    foreground = ndimage.gaussian_filter(rng.normal(size=shape), (1, 2, 2)) * 900 + 190
    contour = ndimage.gaussian_filter(rng.normal(size=shape), (1, 2, 2)) * 400 + 40
    distance = ndimage.gaussian_filter(rng.normal(size=shape), (1, 2, 2)) * 600 + 190
    return np.stack([foreground, contour, distance]).clip(0, 255).astype(np.uint8)


def reference(
    maps: np.ndarray, small: int = 256, height: int = 0, raster: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The published recipe with the default thresholds, as plainly as it can be written.

    With `raster`, seed voxels are so much lower, in raster order, that none of them are equal.
    """
    distance = maps[2] / 255.0 * 2 - 1
    seeds = measure.label((maps[0] > 229) & (maps[1] < 51) & (distance > 0.5))
    seeds[np.isin(seeds, np.flatnonzero(np.bincount(seeds.ravel()) < 32))] = 0
    mask, heights = (maps[0] > 178) & (distance > -0.1), -maps[height].astype(float)
    if raster:
        starts = mask & (seeds > 0)
        heights[starts] -= np.linspace(0.8, 0.2, np.count_nonzero(starts))
    labels = oracle.watershed(heights, seeds, mask)
    labels[np.isin(labels, np.flatnonzero(np.bincount(labels.ravel()) < small))] = 0
    return labels, seeds


@pytest.mark.parametrize("name", VECTORS)
def test_labels_and_seeds_equal_the_reference(shared: Path, name: str) -> None:
    case, options = vector(shared, name)
    labels, seeds = bcd_watershed(case["volume"], return_seeds=True, ties="heap", **options)
    np.testing.assert_array_equal(labels, case["segm"])
    np.testing.assert_array_equal(seeds, case["seed"])
    assert (labels.dtype, seeds.dtype) == (case["segm"].dtype, case["seed"].dtype)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Labels with ids from 1 on in the same order."""
    return np.searchsorted(np.unique(labels[labels > 0]), labels) + (labels > 0)


def test_ids_count_from_1_unless_they_are_those_of_the_seeds() -> None:
    maps = noisy_maps(5)
    labels, seeds = bcd_watershed(maps, return_seeds=True)
    assert labels.max() > len(np.unique(labels)) - 1  # small seeds and instances were dropped
    np.testing.assert_array_equal(bcd_watershed(maps), numbered(labels))
    np.testing.assert_array_equal(bcd_watershed(maps, seeds=seeds), labels)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_from_0_to_1_decode_as_their_bytes(shared: Path, name: str, dtype: type) -> None:
    case, options = vector(shared, name)
    unit = case["volume"].astype(dtype) / dtype(255)
    expected = case["segm"] if "seeds" in options else numbered(case["segm"])
    np.testing.assert_array_equal(bcd_watershed(unit, ties="heap", **options), expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", ["raster", "heap"])
def test_random_bytes_decode_as_the_plain_recipe(seed: int, ties: str) -> None:
    maps = noisy_maps(seed)
    labels, seeds = bcd_watershed(maps, return_seeds=True, ties=ties)
    expected, expected_seeds = reference(maps, raster=ties == "raster")
    assert expected.any()
    np.testing.assert_array_equal(seeds, expected_seeds)
    np.testing.assert_array_equal(labels, expected)


def test_the_distance_can_be_the_height() -> None:
    maps = noisy_maps(5)
    np.testing.assert_array_equal(bcd_watershed(maps, height="distance"), numbered(reference(maps, height=2)[0]))


def test_an_empty_margin_changes_nothing() -> None:
    maps = noisy_maps(6)
    wide = np.pad(maps, ((0, 0), (2, 1), (5, 0), (0, 7)))
    np.testing.assert_array_equal(bcd_watershed(wide)[2:-1, 5:, :-7], bcd_watershed(maps))


def test_thresholds_are_strict_and_rounded_down_to_bytes() -> None:
    #           229 is no seed, 230 is; contour 51 is none; 178 is outside, 179 is inside
    maps = row([230, 229, 230, 178, 179], [50, 50, 51, 0, 0], [255] * 5)
    labels, seeds = bcd_watershed(maps, return_seeds=True, **ANY_SIZE)
    np.testing.assert_array_equal(seeds[0, 0], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(labels[0, 0], [1, 1, 1, 0, 0])


def test_the_distance_is_compared_on_its_own_scale() -> None:
    # 0.5 is 191.25 of 255, -0.1 is 114.75
    maps = row([255] * 4, [0] * 4, [192, 191, 115, 114])
    labels, seeds = bcd_watershed(maps, return_seeds=True, **ANY_SIZE)
    np.testing.assert_array_equal(seeds[0, 0], [1, 0, 0, 0])
    np.testing.assert_array_equal(labels[0, 0], [1, 1, 1, 0])


def test_instances_meet_in_the_valley_of_the_foreground() -> None:
    foreground = [255, 250, 220, 200, 210, 220, 230, 255]
    labels = bcd_watershed(row(foreground, [0, 0, 99, 99, 99, 99, 99, 0], [255] * 8), **ANY_SIZE)
    np.testing.assert_array_equal(labels[0, 0], [1, 1, 1, 1, 2, 2, 2, 2])


def test_small_seeds_are_dropped_without_renumbering() -> None:
    maps = row([255, 0, 255, 255], [0] * 4, [255] * 4)
    labels, seeds = bcd_watershed(maps, min_seed_size=2, min_instance_size=0, return_seeds=True)
    np.testing.assert_array_equal(seeds[0, 0], [0, 0, 2, 2])
    np.testing.assert_array_equal(labels[0, 0], [0, 0, 2, 2])


def test_seeds_given_replace_those_found_and_keep_their_ids() -> None:
    given = np.array([[[0, 0, 300, 0]]])
    labels, seeds = bcd_watershed(row([255] * 4, [0] * 4, [255] * 4), seeds=given, return_seeds=True, **ANY_SIZE)
    np.testing.assert_array_equal(labels[0, 0], [300] * 4)
    assert (labels.dtype, seeds.dtype) == (np.uint16, np.int32)
    np.testing.assert_array_equal(seeds, given)


def test_bc_watershed_does_without_the_distance() -> None:
    maps = row([255, 255, 217, 216], [203, 204, 0, 0], [0] * 4)[:2]  # seeds > 229 and < 204; mask > 216
    labels, seeds = bc_watershed(maps, return_seeds=True, **ANY_SIZE)
    np.testing.assert_array_equal(seeds[0, 0], [1, 0, 0, 0])
    np.testing.assert_array_equal(labels[0, 0], [1, 1, 1, 0])


def predicted(label: np.ndarray, offsets: list[list[int]] | None = None, seed: int = 0) -> np.ndarray:
    """Affinities as a network gives them: blurred, with smooth noise, in bytes."""
    rng = np.random.default_rng(seed)
    maps = Affinity(*([offsets] if offsets else [])).encode(label)
    noise = [0.5 * ndimage.gaussian_filter(rng.normal(size=label.shape), 1) for _ in maps]
    blurred = [ndimage.gaussian_filter(one, 0.7) + more for one, more in zip(maps, noise, strict=True)]
    return (255 * np.clip(blurred, 0, 1)).astype(np.uint8)


def test_affinities_split_where_one_is_low_and_fill_where_one_is_high() -> None:
    z = y = [255] * 6
    x = [0, 255, 255, 127, 255, 255]  # 229 and 127 are the thresholds, both strict
    maps = np.array([z, y, x], np.uint8)[:, None, None]
    labels, seeds = affinity_watershed(maps, return_seeds=True, **ANY_SIZE)
    np.testing.assert_array_equal(seeds[0, 0], [0, 1, 1, 0, 2, 2])
    assert (labels[0, 0] > 0).all()
    maps[:2, 0, 0, 0] = 127
    assert affinity_watershed(maps, **ANY_SIZE)[0, 0].tolist()[0] == 0


def test_seeds_of_affinities_do_not_meet_at_corners() -> None:
    label = np.ones((1, 6, 6), np.uint8)
    label[0, 3:] = label[0, :, 3:] = 2  # voxels (2, 2) and (3, 3): the affinities of both are whole
    maps = Affinity().encode(label)
    assert len(np.unique(affinity_watershed(maps, **ANY_SIZE))) == 2


@pytest.mark.parametrize("offsets", [None, [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0], [0, -3, 0], [0, 0, -3]]])
def test_touching_balls_come_apart_by_their_affinities(balls: np.ndarray, offsets: list[list[int]] | None) -> None:
    labels = affinity_watershed(predicted(balls, offsets))
    assert match_instances(balls, labels, 0.75).true_positives == 4
    assert len(np.unique(labels)) - 1 == 4


def test_exact_affinities_give_the_label_back(balls: np.ndarray) -> None:
    labels = affinity_watershed(Affinity().encode(balls))
    assert match_instances(balls, labels, 0.95).true_positives == 4


def test_affinities_from_0_to_1_decode_as_their_bytes(balls: np.ndarray) -> None:
    maps = predicted(balls)
    np.testing.assert_array_equal(affinity_watershed((maps / 255).astype(np.float32)), affinity_watershed(maps))


def test_fewer_than_three_affinities_are_refused() -> None:
    with pytest.raises(InputError, match=r"affinity z, affinity y, affinity x, so shape \(3 or more, Z, Y, X\)"):
        affinity_watershed(np.zeros((2, 4, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"found shape \(6, 4, 4, 4\).*expected foreground, contour, distance"):
        bcd_watershed(np.zeros((6, 4, 4, 4), np.uint8))


@pytest.mark.parametrize("factors", [(2, 1, 1), (1, 1.5, 0.5), (1, 0.4, 3), (2, 2, 2)])
def test_resized_labels_equal_those_of_scikit_image(factors: tuple[float, ...]) -> None:
    maps = noisy_maps(7)
    plain = bcd_watershed(maps)
    shape = [int(size * factor) for size, factor in zip(plain.shape, factors, strict=True)]
    expected = resize(plain, shape, order=0, anti_aliasing=False, preserve_range=True)
    np.testing.assert_array_equal(bcd_watershed(maps, scale_factors=factors), expected)


SMALL = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 2, 2, 3, 1, 0, 0],
        [1, 2, 2, 3, 1, 0, 4],
        [1, 1, 1, 1, 1, 0, 0],
    ]
)


@pytest.mark.parametrize(
    ("mode", "second", "third", "fourth"),
    [("none", 2, 3, 4), ("background", 2, 0, 0), ("neighbor", 2, 1, 0)],
)
def test_small_instances_become_what_the_mode_says(mode: str, second: int, third: int, fourth: int) -> None:
    labels = SMALL[None].copy()
    handle_small(labels, 3, mode)
    expected = np.select([SMALL == 2, SMALL == 3, SMALL == 4], [second, third, fourth], SMALL)
    np.testing.assert_array_equal(labels[0], expected)


def test_small_instances_merge_in_ascending_order_and_move_on_together() -> None:
    labels = np.array([[[5, 1, 2, 9, 9, 9, 9, 9]] * 2])
    labels[0, 1] = [5, 0, 2, 2, 9, 9, 9, 9]
    handle_small(labels, 4, "neighbor")  # 1 -> 2 or 5 (2 is nearest to more of it), then 2 with it -> 9, then 5
    assert set(np.unique(labels)) == {0, 9}


def merged_slowly(labels: np.ndarray, small: int) -> np.ndarray:
    """Oracle for the mode "neighbor", over the whole volume for every id."""
    labels = labels.copy()
    ids, counts = np.unique(labels, return_counts=True)
    for one in ids[(counts < small) & (ids > 0)]:
        mask = labels == one
        ring = ndimage.binary_dilation(mask, np.ones((1, 3, 3))) & ~mask
        others, votes = np.unique(labels[ring & (labels > 0)], return_counts=True)
        labels[mask] = others[votes.argmax()] if len(others) else 0
    return labels


@pytest.mark.parametrize("seed", range(3))
def test_merging_equals_the_slow_oracle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(1, 40, (4, 20, 22)) * (rng.random((4, 20, 22)) < 0.05)
    nearest = ndimage.distance_transform_edt(points == 0, return_distances=False, return_indices=True)
    labels = points[tuple(nearest)] * (ndimage.gaussian_filter(rng.normal(size=points.shape), 1) > -0.1)
    merged = labels.copy()
    handle_small(merged, 40, "neighbor")
    np.testing.assert_array_equal(merged, merged_slowly(labels, 40))
    by_section = labels.copy()
    handle_small(by_section, 15, "neighbor_2d")
    np.testing.assert_array_equal(by_section, np.concatenate([merged_slowly(z[None], 15) for z in labels]))


def test_background_by_section_equals_scikit_image() -> None:
    labels = np.repeat(SMALL[None], 2, axis=0)
    labels[1, 1:3, 3] = 1
    expected = np.stack([morphology.remove_small_objects(section, 3) for section in labels])
    handle_small(labels, 3, "background_2d")
    np.testing.assert_array_equal(labels, expected)


def test_options_reach_the_small_instances() -> None:
    maps = noisy_maps(8)
    everything = bcd_watershed(maps, small_mode="none")
    merged = bcd_watershed(maps, small_mode="neighbor")
    assert len(np.unique(everything)) > len(np.unique(merged)) > 2


def test_the_scale_that_was_assumed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    maps = noisy_maps(9)
    with caplog.at_level(logging.INFO, "scripts.watershed"):
        bcd_watershed(maps)
        assert not caplog.messages
        unit = bcd_watershed((maps / 255).astype(np.float32))
        assert "float32 up to 1 taken as 0..1" in caplog.text
        whole = bcd_watershed(maps.astype(np.float32))
        assert "float32 up to 255 taken as 0..255" in caplog.text
    np.testing.assert_array_equal(unit, bcd_watershed(maps))
    np.testing.assert_array_equal(whole, bcd_watershed(maps))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
def test_any_integer_type_holds_bytes(dtype: type) -> None:
    maps = noisy_maps(10)
    np.testing.assert_array_equal(bcd_watershed(maps.astype(dtype)), bcd_watershed(maps))


def test_the_maps_are_left_alone() -> None:
    maps = noisy_maps(11)
    before = maps.copy()
    bcd_watershed(maps, small_mode="neighbor")
    np.testing.assert_array_equal(maps, before)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((4, 2, 4, 4), np.uint8), "found shape \\(4, 2, 4, 4\\)"),
        (np.zeros((3, 4, 4), np.uint8), "expected foreground, contour, distance"),
        (np.full((3, 2, 4, 4), 300), "values from 300 to 300"),
        (np.full((3, 2, 4, 4), -1.0), "values from -1 to -1"),
        (np.full((3, 2, 4, 4), np.nan), "nan"),
        (np.zeros((3, 2, 4, 4), bool), "bool"),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bcd_watershed(maps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"small_mode": "gone"}, "small_mode: found 'gone'"),
        ({"height": "contour"}, "height: found 'contour'"),
        ({"scale_factors": (1, 1)}, "scale_factors"),
        ({"seeds": np.zeros((2, 4, 5), int)}, "seeds: found shape"),
        ({"seeds": np.full((2, 4, 4), -1)}, "seeds: found shape"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bcd_watershed(np.zeros((3, 2, 4, 4), np.uint8), **options)
    with pytest.raises(InputError, match="small_mode"):
        handle_small(np.zeros((1, 2, 2), int), 3, "gone")


def test_decoders_hold_their_options() -> None:
    maps = noisy_maps(12)
    decode = BCDWatershed(min_instance_size=64, scale_factors=[1, 2, 2])
    np.testing.assert_array_equal(decode(maps), bcd_watershed(maps, min_instance_size=64, scale_factors=(1, 2, 2)))
    np.testing.assert_array_equal(BCWatershed(seed_contour=0.3)(maps[:2]), bc_watershed(maps[:2], seed_contour=0.3))


@pytest.mark.parametrize("name", ["small_mode", "ties", "height", "scale_factors"])
def test_decoders_reject_names_that_are_none_before_they_see_maps(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: found 'x', expected "):
        BCDWatershed(**{name: "x"})


def test_decoders_refuse_misspelt_options() -> None:
    with pytest.raises(InputError, match="BCDWatershed: found the option thres1, expected some of seed_foreground"):
        BCDWatershed(thres1=0.9)
    with pytest.raises(InputError, match="BCWatershed: found the option seed_distance"):
        BCWatershed(seed_distance=0.9)
    with pytest.raises(InputError, match="AffinityWatershed: found the option seed_contour"):
        AffinityWatershed(seed_contour=0.9)


def test_stages_are_told_in_order() -> None:
    told: list[str] = []
    bcd_watershed(noisy_maps(13), on_stage=told.append)
    assert tuple(told) == STAGES


@pytest.fixture
def pred(tmp_path: Path) -> Path:
    path = tmp_path / "pred.h5"
    maps = noisy_maps(14)
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("main", data=np.concatenate([maps[:1] // 2, maps]))
        stored.attrs["element_size_um"] = (0.5, 0.25, 0.25)
    return path


def test_the_command_decodes_a_file(pred: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = pred.with_name("segm.tif")
    main(str(pred), str(out), min_instance_size=64)
    labels, voxel_size = read_volume(out)
    expected = bcd_watershed(noisy_maps(14), min_instance_size=64)
    np.testing.assert_array_equal(labels, expected)
    assert voxel_size == pytest.approx((0.5, 0.25, 0.25), rel=1e-3)
    assert f"{len(np.unique(expected)) - 1} instances" in capsys.readouterr().out


def test_the_command_takes_seeds_and_scales_the_voxels(pred: Path) -> None:
    seeds = np.zeros((12, 40, 44), np.uint8)
    seeds[6] = 7
    with h5py.File(pred.with_name("seeds.h5"), "w") as file:
        file["main"] = seeds
    out = pred.with_name("segm.h5")
    main(str(pred), str(out), seeds=str(pred.with_name("seeds.h5")), scale_factors=(1, 2, 2))
    labels, voxel_size = read_volume(out)
    assert set(np.unique(labels)) <= {0, 7}
    assert labels.shape == (12, 80, 88)
    assert voxel_size == pytest.approx((0.5, 0.125, 0.125), rel=1e-3)


def test_the_command_refuses_a_wrong_channel_count_and_writes_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["main"] = np.zeros((2, 4, 4, 4), np.uint8)
    with pytest.raises(InputError, match=r"two\.h5: found 2 channels, expected 3"):
        main(str(tmp_path / "two.h5"), str(tmp_path / "segm.tif"))
    assert not (tmp_path / "segm.tif").exists()


NAMED = {
    "bcd": ["foreground", "contour", "distance"],
    "bc": ["foreground", "contour"],
    "affinity": ["affinity 1", "affinity 2", "affinity 3"],
}
DECODERS = {"bcd": bcd_watershed, "bc": bc_watershed, "affinity": affinity_watershed}


@pytest.mark.parametrize("target", NAMED)
@pytest.mark.parametrize("with_image", [False, True])
def test_the_command_decodes_every_target(target: str, with_image: bool, tmp_path: Path) -> None:
    names, maps = NAMED[target], noisy_maps(15)[: len(NAMED[target])]
    maps = predicted((maps[0] > 180).astype(np.uint8)) if target == "affinity" else maps
    stored = np.concatenate([maps[:1] // 2, maps]) if with_image else maps
    named = ["image"] * with_image + names
    write_volume(tmp_path / "named.h5", stored, channel_names=named)
    main(str(tmp_path / "named.h5"), str(tmp_path / "segm.h5"), target=target, min_instance_size=9)
    expected = DECODERS[target](maps, min_instance_size=9)
    assert expected.any()
    np.testing.assert_array_equal(read_volume(tmp_path / "segm.h5")[0], expected)


@pytest.mark.parametrize(("holds", "target"), [("affinity", "bcd"), ("bcd", "affinity"), ("bc", "bcd"), ("bcd", "bc")])
def test_the_command_refuses_maps_of_another_target(holds: str, target: str, tmp_path: Path) -> None:
    maps = np.zeros((len(NAMED[holds]), 4, 4, 4), np.uint8)
    write_volume(tmp_path / "maps.h5", maps, channel_names=NAMED[holds])
    with pytest.raises(InputError, match=rf"maps\.h5: holds {', '.join(NAMED[holds])}; expected .*--target"):
        main(str(tmp_path / "maps.h5"), str(tmp_path / "segm.tif"), target=target)
    assert not (tmp_path / "segm.tif").exists()


def test_the_command_knows_its_targets_and_the_flags_of_each(pred: Path) -> None:
    with pytest.raises(InputError, match="--target boundary, expected one of bcd, bc, affinity"):
        main(str(pred), str(pred.with_name("segm.tif")), target="boundary")
    with pytest.raises(InputError, match=r"--seed_distance, expected --pred.*--seed_affinity"):
        main(str(pred), str(pred.with_name("segm.tif")), target="affinity", seed_distance=0.5)


def test_the_command_refuses_flags_it_does_not_know(pred: Path) -> None:
    with pytest.raises(InputError, match=r"--thres1, expected --pred.*--seed_foreground"):
        main(str(pred), str(pred.with_name("segm.tif")), thres1=0.5)


def test_the_command_runs_as_a_module_from_the_bundle(pred: Path) -> None:
    out = pred.with_name("segm.nii.gz")
    command = [
        sys.executable,
        "-m",
        "scripts.watershed",
        "--pred",
        str(pred),
        "--out",
        str(out),
        "--small_mode",
        "none",
    ]
    done = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=True)
    assert "instances in" in done.stdout
    assert "write" in done.stderr
    np.testing.assert_array_equal(read_volume(out)[0], bcd_watershed(noisy_maps(14), small_mode="none"))


def test_the_command_tells_errors_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.watershed", "--pred", "gone.h5", "--out", str(tmp_path / "segm.tif")]
    done = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "gone.h5" in done.stderr
    assert "Traceback" not in done.stderr
