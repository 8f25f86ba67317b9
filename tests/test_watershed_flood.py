"""The flood against scikit-image's watershed, whose seed voxels are given heights that none of them share."""

from __future__ import annotations

import itertools

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scripts.watershed import flood as module
from scripts.watershed.flood import blocked_value, flood, flood_by_heap, flood_floats
from skimage.segmentation import watershed

SHAPE = (9, 21, 22)
OUTSIDE = 1000  # an instance that no seed has


def plain(heights: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The labels, by scikit-image."""
    mask = heights != blocked_value(heights.dtype)
    levels, starts = heights.astype(float), mask & (seeds > 0)
    levels[starts] -= np.linspace(0.8, 0.2, np.count_nonzero(starts))
    return watershed(levels, seeds, mask=mask)


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


@settings(max_examples=150)
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
@given(problems())
def test_the_heap_s_order_is_scikit_image_untouched(problem: tuple[np.ndarray, np.ndarray]) -> None:
    heights, seeds = problem
    expected = watershed(heights, seeds, mask=heights != 255)
    np.testing.assert_array_equal(flood_by_heap(heights, seeds), expected)
    floats = np.where(heights == 255, np.inf, heights.astype(float))
    np.testing.assert_array_equal(flood_by_heap(floats, seeds), expected)


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
