from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from scripts.errors import InputError
from scripts.volume_io import downsample_labels, pyramid_factors


def slow_modes(labels: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Block by block, in plain Python."""
    shape = [-(-side // factor) for side, factor in zip(labels.shape, factors, strict=True)]
    result = np.zeros(shape, labels.dtype)
    for index in np.ndindex(*shape):
        box = tuple(slice(i * factor, (i + 1) * factor) for i, factor in zip(index, factors, strict=True))
        counts = Counter(labels[box].ravel().tolist())
        result[index] = min(counts, key=lambda label: (-counts[label], label == 0, label))
    return result


@pytest.mark.parametrize("factors", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (3, 1, 4), (7, 9, 20)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64, np.int16])
def test_the_most_frequent_label_of_each_block_is_kept(factors: tuple[int, int, int], dtype: type) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (7, 9, 10)).astype(dtype)
    result = downsample_labels(labels, factors)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, slow_modes(labels, factors))


@pytest.mark.parametrize(
    ("block", "winner"),
    [([0, 0, 5, 5], 5), ([7, 7, 5, 5], 5), ([0, 0, 0, 5], 0), ([0, 9, 3, 0], 0), ([0, 1, 2, 3], 1), ([4, 4, 4, 4], 4)],
)
def test_of_equal_counts_objects_go_before_background_and_small_numbers_first(block: list[int], winner: int) -> None:
    assert downsample_labels(np.array(block).reshape(1, 2, 2), (1, 2, 2)).item() == winner


def test_large_ids_are_kept_exactly() -> None:
    labels = np.full((2, 2, 2), 2**63 + 1, np.uint64)
    assert downsample_labels(labels, (2, 2, 2)).item() == 2**63 + 1


def test_parts_that_begin_at_multiples_of_the_factors_give_the_same() -> None:
    labels = np.random.default_rng(1).integers(0, 3, (11, 13, 9)).astype(np.uint16)
    whole = downsample_labels(labels, (2, 2, 2))
    for cut in (2, 4, 8):
        parts = [downsample_labels(part, (2, 2, 2)) for part in (labels[:, :cut], labels[:, cut:])]
        np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


def test_memory_is_two_copies_and_little_more() -> None:
    labels = np.random.default_rng(2).integers(0, 2**30, (64, 64, 64)).astype(np.uint32)
    tracemalloc.start()
    downsample_labels(labels, (2, 2, 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * labels.nbytes


@pytest.mark.parametrize("factors", [(2, 2), (0, 1, 1)])
def test_bad_factors_are_refused(factors: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected .* three integers of 1 or more"):
        downsample_labels(np.zeros((4, 4, 4), int), factors)


@pytest.mark.parametrize(
    ("shape", "voxel_size", "chunks", "expected"),
    [
        ((32, 32, 32), (1.0, 1.0, 1.0), (8, 8, 8), [(1, 1, 1)]),  # few voxels
        ((128, 128, 128), (1.0, 1.0, 1.0), (128, 128, 128), [(1, 1, 1)]),  # one chunk
        ((128, 256, 256), None, (128, 128, 128), [(1, 1, 1), (2, 2, 2)]),
        ((100, 512, 512), (4.0, 1.0, 1.0), (64, 64, 64), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]),
        ((256, 256, 256), (1.0, 1.0, 0.25), (64, 64, 64), [(1, 1, 1), (1, 1, 2), (1, 1, 4), (2, 2, 8), (4, 4, 16)]),
        ((1, 300, 300), (0.1, 1.0, 1.0), (1, 128, 128), [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),  # nothing to halve in z
        ((3, 128, 256, 256), (1.0, 1.0, 1.0), (1, 128, 128, 128), [(1, 1, 1), (2, 2, 2)]),  # channels are left
    ],
)  # fmt: skip
def test_the_finest_axes_are_halved_until_voxels_are_cubes_and_then_all(
    shape: tuple[int, ...],
    voxel_size: tuple[float, ...] | None,
    chunks: tuple[int, ...],
    expected: list[tuple[int, ...]],
) -> None:
    assert pyramid_factors(shape, voxel_size, chunks) == expected
