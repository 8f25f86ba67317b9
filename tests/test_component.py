"""Connected components, also where the library fails."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.component import connected_components


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 1), (3, 1, 1)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint64])
def test_two_voxels_with_a_gap_are_two(shape: tuple[int, ...], dtype: type) -> None:
    found = connected_components(np.array([1, 0, 1], dtype).reshape(shape))
    assert (found.ravel().tolist(), found.shape, found.dtype) == ([1, 0, 2], shape, np.uint32)


def test_corners_join_at_26_and_values_never() -> None:
    array = np.zeros((2, 2, 3), np.uint8)
    array[0, 0, 0] = array[1, 1, 1] = 5
    array[1, 1, 2] = 6
    assert connected_components(array)[array > 0].tolist() == [1, 1, 2]
    assert connected_components(array, 6)[array > 0].tolist() == [1, 2, 3]
