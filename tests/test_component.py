"""Connected components, also where the library fails."""

from __future__ import annotations

import numpy as np
import pytest
from scripts.component import connected_components


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 1), (9, 1, 1), (3, 3, 1), (1, 301, 301), (3, 3, 3), (2, 3, 3)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint64])
def test_voxels_with_gaps_are_one_each(shape: tuple[int, ...], dtype: type) -> None:
    array = (np.indices(shape) % 2 == 0).all(axis=0)
    found = connected_components(array.astype(dtype))
    assert (found.shape, found.dtype) == (shape, np.uint32)
    assert found[array].tolist() == list(range(1, np.count_nonzero(array) + 1))
    assert not found[~array].any()


def test_corners_join_at_26_and_values_never() -> None:
    array = np.zeros((2, 2, 3), np.uint8)
    array[0, 0, 0] = array[1, 1, 1] = 5
    array[1, 1, 2] = 6
    assert connected_components(array)[array > 0].tolist() == [1, 1, 2]
    assert connected_components(array, 6)[array > 0].tolist() == [1, 2, 3]
