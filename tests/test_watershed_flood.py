"""The floods against the watershed of scikit-image 0.24, which `oracle` repeats."""

from __future__ import annotations

import itertools

import cc3d
import numpy as np
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scripts.watershed import fine
from scripts.watershed import flood as module
from scripts.watershed.fine import flood_floats
from scripts.watershed.flood import blocked_value, flood
from scripts.watershed.turn import flood_by_heap, keys_of
from skimage.segmentation import watershed

import oracle

SHAPE = (9, 21, 22)
OUTSIDE = 1000  # an instance that no seed has
# heights (# outside the mask), seeds, and what scikit-image 0.24.0 made of them: (2, 6, 12), by line
RECORDED = [
    (
        "011122022112 02200121110# 12#01122#200 #210#1001221 102112200020 210212001022"
        " 1#0000#10220 121010#22000 2122111#200# 1200#00#2102 #2102#021020 111021011011",
        ".6.........9 ..9......... ....9....... .8......7.8. ......6..... ............"
        " ............ ..8......... ............ .6.......... ............ ...........8",
        "666888888889 66988888888. 66.89977.888 .888.7777788 888887677788 888887777778"
        " 6.8888.88888 688888.88888 6688987.888. 6688.77.7788 .8888.777788 888887777788",
    ),
    (
        "2120002012#1 2#1101020211 #21022011012 #1000220#010 001#21101001 #10022200222"
        " 202012120002 11222#02201# 0#11#01#2212 01120##2#101 110212020002 010020220000",
        ".....4...... ............ ............ ..........6. ........6... ............"
        " ............ ..9......... ..44........ .......5.4.. ............ .2.....8....",
        "2244444444.4 2.4444444444 .44444444446 .4444444.466 222.44446444 .22224444444"
        " 224444444444 22944.44444. 2.44.44.4444 22244..5.444 222244444444 222222484444",
    ),
]


def recorded(text: str) -> np.ndarray:
    digits = [255 if letter == "#" else int(letter.replace(".", "0")) for letter in text if letter != " "]
    return np.array(digits, np.int32).reshape(2, 6, 12)


def plain(heights: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The labels, where the seed voxels are given heights that none of them share."""
    mask = heights != blocked_value(heights.dtype)
    levels, starts = heights.astype(float), mask & (seeds > 0)
    levels[starts] -= np.linspace(0.8, 0.2, np.count_nonzero(starts))
    return oracle.watershed(levels, seeds, mask)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Heights and seeds: smooth or rough, few levels or many, hollows with and without a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grey = gaussian_filter(rng.random(SHAPE), draw(st.sampled_from([0, 0.5, 1, 2])))
    step = draw(st.sampled_from([1, 20, 60]))
    grey = ((grey - grey.min()) / np.ptp(grey) * 255).astype(np.uint8) // step * step
    low, high = sorted(draw(st.tuples(st.integers(0, 200), st.integers(0, 254))))
    seeds = cc3d.connected_components(grey > high, connectivity=26).astype(np.int32)
    heights = np.where(grey > low, 255 - grey, 255).astype(np.uint8)
    return heights, seeds


@settings(max_examples=40)
@given(problems(), st.sampled_from([1, 5, 300, 10_000]))
def test_labels_are_those_of_scikit_image(problem: tuple[np.ndarray, np.ndarray], front: int) -> None:
    heights, seeds = problem
    expected = plain(heights, seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FRONT", front)
        np.testing.assert_array_equal(flood(heights, seeds), expected)
    wide = np.where(heights == 255, 65535, heights * np.uint16(7)).astype(np.uint16)
    np.testing.assert_array_equal(flood(wide, seeds), expected)
    floats = np.where(heights == 255, np.inf, heights / np.float32(255))
    np.testing.assert_array_equal(flood_floats(floats, seeds), expected)


@settings(max_examples=30)
@given(problems(), st.sampled_from([1, 16, 256]), st.sampled_from([1, 24]), st.sampled_from([5, 4096]))
def test_levels_that_no_two_voxels_share(
    problem: tuple[np.ndarray, np.ndarray], ranges: int, few: int, front: int
) -> None:
    heights, seeds = problem
    smooth = gaussian_filter(heights.astype(np.float32), 1) + heights.ravel().argsort().reshape(SHAPE) * 1e-6
    levels = np.where(heights == 255, np.inf, smooth)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_RANGES", ranges), ("_FEW", few), ("_FRONT", front)):
            patch.setattr(fine, name, value)
        np.testing.assert_array_equal(flood_floats(levels, seeds), oracle.watershed(levels, seeds, heights != 255))


@pytest.mark.parametrize("case", RECORDED)
def test_the_heap_s_order_is_as_scikit_image_0_24_had_it(case: tuple[str, str, str]) -> None:
    heights, seeds, expected = map(recorded, case)
    levels = heights.astype(np.uint8)
    np.testing.assert_array_equal(oracle.watershed(heights, seeds, levels != 255), expected)
    np.testing.assert_array_equal(flood_by_heap(levels, seeds), expected)
    assert (flood(levels, seeds) != expected).sum() > 50  # they are of the kind in which the order of equals counts


@settings(max_examples=20)
@given(problems())
def test_the_heap_s_order_is_the_oracle_s(problem: tuple[np.ndarray, np.ndarray]) -> None:
    heights, seeds = problem
    expected = oracle.watershed(heights, seeds, heights != 255)
    np.testing.assert_array_equal(flood_by_heap(heights, seeds), expected)
    floats = np.where(heights == 255, np.inf, heights.astype(float))
    np.testing.assert_array_equal(flood_by_heap(floats, seeds), expected)


@pytest.mark.skipif(not skimage.__version__.startswith("0.24."), reason="scikit-image is not 0.24, which it is like")
@settings(max_examples=60)
@given(problems())
def test_the_oracle_is_scikit_image_0_24(problem: tuple[np.ndarray, np.ndarray]) -> None:
    heights, seeds = problem
    mask = heights != 255
    np.testing.assert_array_equal(oracle.watershed(heights, seeds, mask), watershed(heights, seeds, mask=mask))


@settings(max_examples=100)
@given(problems(), st.data())
def test_what_the_outside_cannot_reach_first_is_as_in_the_whole(
    problem: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    heights, seeds = problem
    cuts = [sorted(data.draw(st.tuples(st.integers(0, n // 3), st.integers(2 * n // 3, n)))) for n in SHAPE]
    window = tuple(slice(*cut) for cut in cuts)
    faces = np.zeros([stop - start for start, stop in cuts], bool)
    for axis, (start, stop) in enumerate(cuts):
        along = np.moveaxis(faces, axis, 0)
        along[0] |= start > 0
        along[-1] |= stop < SHAPE[axis]
    whole = flood(heights, seeds)[window]
    for part in (flood(heights[window], seeds[window], faces, OUTSIDE), float_part(heights, seeds, window, faces)):
        certain = part != OUTSIDE
        np.testing.assert_array_equal(part[certain], whole[certain])


def float_part(heights: np.ndarray, seeds: np.ndarray, window: tuple[slice, ...], faces: np.ndarray) -> np.ndarray:
    floats = np.where(heights == 255, np.inf, heights.astype(np.float32))
    return flood_floats(floats[window], seeds[window], faces, OUTSIDE)


def test_a_part_of_the_mask_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    heights = (rng.integers(0, 5, SHAPE) * 40).astype(np.uint8)
    heights[4] = 255  # two parts
    seeds = cc3d.connected_components(heights == 0, connectivity=26).astype(np.int32)
    whole = flood(heights, seeds)
    for part in (slice(0, 4), slice(5, 9)):
        np.testing.assert_array_equal(flood(heights[part], seeds[part]), whole[part])


def test_keys_keep_the_order_of_more_levels_than_a_small_volume_has() -> None:
    heights = np.array([0, 1, 2**22, 2**23, 2**31, 2**32 - 2], np.uint32)
    keys = keys_of(heights)
    assert keys == sorted(keys)
    assert keys[0] >= 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_nothing_in_the_mask_and_no_seed_give_nothing(dtype: type) -> None:
    heights = np.full(SHAPE, blocked_value(np.dtype(dtype)), dtype)
    seeds = np.ones(SHAPE, np.int32)
    assert not flood(heights, seeds).any()
    assert not flood(np.zeros(SHAPE, dtype), np.zeros(SHAPE, np.int32)).any()


def test_equals_go_in_raster_order_and_hollows_to_whom_reaches_them_first() -> None:
    # two seeds of equal height on either side: the voxel between them goes to the one in front
    seeds = np.array([[[1, 0, 2]]], np.int32)
    assert flood(np.zeros((1, 1, 3), np.uint8), seeds)[0, 0].tolist() == [1, 1, 2]
    # the rim of 9 is crossed by seed 1 first, at level 5; the hollow behind it is then all its own
    line = np.array([[[0, 5, 9, 1, 1, 9, 6, 0]]], np.uint8)
    seeds = np.zeros((1, 1, 8), np.int32)
    seeds[0, 0, [0, 7]] = 1, 2
    assert flood(line, seeds)[0, 0].tolist() == [1, 1, 1, 1, 1, 2, 2, 2]


def test_all_orientations_of_a_volume_of_one_seed_are_filled() -> None:
    for shape in itertools.permutations((1, 3, 5)):
        seeds = np.zeros(shape, np.int32)
        seeds[(0,) * 3] = 7
        assert (flood(np.zeros(shape, np.uint8), seeds) == 7).all()
