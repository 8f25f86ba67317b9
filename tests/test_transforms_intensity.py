"""One scaling of grey values: MONAI's where that is right, and sparse volumes as well; blocks agree with the whole."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AdjustContrast, Compose, ScaleIntensityRange, ScaleIntensityRangePercentiles
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.intensity import intensity_range
from scripts.blockwise.run import Run
from scripts.blockwise.schedule import Schedule
from scripts.errors import InputError
from scripts.transforms.intensity import GreyScale, ScaleGreyValues, ScaleGreyValuesd
from scripts.transforms.percentile import count_values, grey_ends
from scripts.volume_io import open_volume, write_volume
from scripts.volume_io.grid import Grid

SHAPE = (12, 40, 50)
TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]


def noise(shape: tuple[int, ...] = SHAPE, dtype: Any = np.uint16, seed: int = 0) -> np.ndarray:
    """Grey values over much of a type's range, below 0 where it can be."""
    values = np.random.default_rng(seed).normal(0, 1, shape).clip(-3, 3) / 3
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    high = min(info.max, 60_000) if info else 1000.7
    low = (max(info.min, -30_000) if info else -300.1) + 1
    return (low + (high - low) * (values + 1) / 2).astype(dtype)


def sparse(dtype: Any = np.uint8, background: float = 0, seed: int = 0) -> np.ndarray:
    """A dim and a bright object, 60 to 200 above a background that fills all but 0.3 % of the volume."""
    image = np.full(SHAPE, background, dtype)
    rng = np.random.default_rng(seed)
    for z, level in ((3, 60), (7, 150)):
        image[z : z + 2, 20:24, 20:24] = background + level + rng.integers(0, 50, (2, 4, 4))
    return image


def ends_of(image: np.ndarray, percentiles: tuple[float, float] = (0.5, 99.5)) -> tuple[float, float]:
    return grey_ends(lambda uppers: count_values(image, uppers), image.dtype, percentiles, "image.tif")


@pytest.mark.parametrize("dtype", TYPES)
def test_percentiles_are_those_of_numpy(dtype: Any) -> None:
    image = noise(dtype=dtype)
    for percentiles in ((0.5, 99.5), (0, 100), (33.3, 34)):
        expected = np.percentile(image.astype(np.float32).astype(np.float64), percentiles).astype(np.float32)
        assert ends_of(image, percentiles) == tuple(expected.tolist())


@pytest.mark.parametrize(("shape", "dtype"), [(SHAPE, np.uint16), (SHAPE, np.float32), ((101, 100, 101), np.int16)])
def test_a_volume_with_contrast_is_scaled_as_by_monai(shape: tuple[int, ...], dtype: Any) -> None:
    image = noise(shape, dtype)[None]
    unit = Compose([ScaleIntensityRangePercentiles(0.5, 99.5, 0.0, 1.0, clip=True), AdjustContrast(0.5)])
    expected = unit(torch.from_numpy(image.astype(np.float32)))
    torch.testing.assert_close(
        torch.from_numpy(ScaleGreyValues(gamma=0.5, signed=False)(image)), expected, atol=3e-5, rtol=0
    )
    signed = ScaleIntensityRange(0.0, 1.0, -1.0, 1.0)(expected)
    found = ScaleGreyValues(gamma=0.5)(MetaTensor(torch.from_numpy(image), meta={"filename_or_obj": "a.tif"}))
    np.testing.assert_allclose(found, signed, atol=6e-5)
    assert (found.dtype, found.meta["filename_or_obj"]) == (torch.float32, "a.tif")
    assert (float(found.min()), float(found.max())) == (-1, pytest.approx(1))


@pytest.mark.parametrize(
    ("dtype", "background"),
    [
        (np.uint8, 0),
        (np.uint16, 0),
        (np.int16, -32768),
        (np.int16, -1000),
        (np.int32, 0),
        (np.float32, 0),
        (float, -0.0),
    ],
)
def test_a_sparse_volume_keeps_its_grey_values(dtype: Any, background: float, caplog: pytest.LogCaptureFixture) -> None:
    image = sparse(dtype, background)
    with caplog.at_level(logging.WARNING, logger="scripts"), warnings.catch_warnings():
        warnings.simplefilter("error")  # MONAI's "Divide by zero" among them
        scaled = ScaleGreyValues()(image[None])[0]
    assert "99.73 % of the voxels. Those of the other 64 voxels are taken" in caplog.text
    objects = image > background + 1
    high = np.percentile(image[objects].astype(float), 99.5)
    expected = ((image.astype(float) - background) / (high - background)).clip(0, 1) * 2 - 1
    np.testing.assert_allclose(scaled, expected, atol=1e-4)
    assert scaled[~objects].max() == -1
    assert scaled[objects].std() > 0.2


def test_a_volume_saturated_at_the_top_keeps_its_dark_objects() -> None:
    image = 255 - sparse()
    np.testing.assert_allclose(ScaleGreyValues()(image[None]), -ScaleGreyValues()(sparse()[None]), atol=1e-4)


def test_a_mask_of_few_voxels_becomes_both_ends() -> None:
    image = np.zeros(SHAPE, np.uint16)
    image[3, 4:8, 4:8] = 65535
    assert ends_of(image) == (0, 65535)
    assert np.unique(ScaleGreyValues()(image[None])).tolist() == pytest.approx([-1, 1])


def test_a_border_of_zeros_changes_nothing_as_long_as_percentiles_differ(caplog: pytest.LogCaptureFixture) -> None:
    image = np.pad(noise(), 30)
    assert (image == 0).mean() > 0.9
    with caplog.at_level(logging.WARNING, logger="scripts"):
        assert ends_of(image) == (0, np.percentile(image, 99.5).astype(np.float32))
    assert not caplog.text


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full(SHAPE, 7, np.uint8), r"b.tif: percentiles \(0.5, 99.5\) are 7 and 7; expected two grey values"),
        (np.full(SHAPE, np.nan, np.float32), "are nan and nan; expected two grey values"),
        (np.linspace(-3e38, 3e38, 24000, dtype=np.float32).reshape(SHAPE), "expected two grey values"),
        (1e12 + np.arange(24000.0).reshape(SHAPE), "expected two grey values"),
    ],
)
def test_a_volume_without_two_grey_values_is_rejected(image: np.ndarray, message: str) -> None:
    data = {"image": MetaTensor(torch.from_numpy(image[None]), meta={"filename_or_obj": "b.tif"})}
    with pytest.raises(InputError, match=message):
        ScaleGreyValuesd("image")(data)


@pytest.mark.parametrize("percentiles", [(50, 50), (99, 1), (0.5,), (-1, 99), (1, 101)])
def test_percentiles_that_are_none_are_rejected(percentiles: Any) -> None:
    with pytest.raises(InputError, match="expected two numbers from 0 to 100, the lower one first"):
        ScaleGreyValues(percentiles)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("make", [noise, sparse])
def test_blocks_are_scaled_as_the_whole(dtype: Any, make: Any, tmp_path: Path) -> None:
    image = make(dtype=dtype)
    write_volume(tmp_path / "image.h5", image)
    volume, ends = open_volume(tmp_path / "image.h5"), set()
    for number, block in enumerate([SHAPE, (5, 16, 17)]):
        folder = WorkFolder(tmp_path / f"work_{number}")
        with Schedule().running():
            ends.add(intensity_range(volume, Run(Grid.of(SHAPE, block), folder, Schedule()), (0.5, 99.5)))
    assert ends == {ends_of(image)}
    whole = ScaleGreyValues(gamma=0.5)(image[None])[0]
    parts = GreyScale(*ends.pop(), 0.5)(torch.from_numpy(image[2:5].astype(np.float32)))
    assert np.array_equal(parts.numpy(), whole[2:5])
