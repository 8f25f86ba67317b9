"""Damaged files: a volume or an InputError, whatever was done to them; `make fuzz` runs more cases than this."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scripts.check.array import check_label
from scripts.checkpoint import load_weights
from scripts.errors import InputError
from scripts.metrics import score_instances
from scripts.representation import Contour, Foreground, Representation, SignedDistance
from scripts.volume_io import create_zarr, open_volume, read_volume
from scripts.watershed import affinity_watershed, bc_watershed, bcd_watershed

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import fuzz

MANY = {"tiff": 500, "hdf5": 500, "nifti": 500, "zarr": 400, "weights": 200, "watershed": 200}
LONG = pytest.mark.long
HUGE = (100_000, 10_000, 10_000)  # 10 TB of bytes


@pytest.mark.parametrize(
    ("subject", "cases"),
    [*((name, many // 10) for name, many in MANY.items()), *(pytest.param(*many, marks=LONG) for many in MANY.items())],
)
def test_damaged_files_are_read_or_refused(subject: str, cases: int) -> None:
    assert list(fuzz.campaign(subject, 0, cases)) == []


def test_damage_follows_from_its_number() -> None:
    data = bytes(range(256)) * 4
    assert fuzz.damage(data, random.Random(3)) == fuzz.damage(data, random.Random(3)) != data


# ---- arrays ----------------------------------------------------------------------------------------------------------
KINDS = st.sampled_from([np.uint8, np.int16, np.uint16, np.int64, np.uint64, np.float16, np.float32, np.float64, bool])


@st.composite
def arrays_of(draw: st.DrawFn, *axes: st.SearchStrategy[int]) -> np.ndarray:
    """Numbers of any type, NaN, infinities and the ends of the type's range among them."""
    shape, dtype = tuple(draw(axis) for axis in axes), np.dtype(draw(KINDS))
    if draw(st.booleans()):  # some few values, as labels and maps have
        values = st.sampled_from([0, 1, 2, 200])
        return np.array(draw(st.lists(values, min_size=2, max_size=9)))[np.indices(shape).sum(0) % 2].astype(dtype)
    return draw(arrays(dtype, shape))


SIDE = st.integers(0, 5)
FUZZED = settings(phases=[Phase.generate])  # without shrinking: minutes


@FUZZED
@given(
    arrays_of(st.integers(0, 5), SIDE, SIDE, SIDE), st.sampled_from([bcd_watershed, bc_watershed, affinity_watershed])
)
@pytest.mark.filterwarnings("ignore")
def test_any_maps_are_decoded_or_refused(maps: np.ndarray, decode: Callable[..., np.ndarray]) -> None:
    try:
        labels = decode(maps, min_seed_size=1, min_instance_size=1)
    except InputError:
        return
    assert labels.shape == maps.shape[1:]
    assert labels.dtype.kind == "u"


@FUZZED
@given(arrays_of(SIDE, SIDE, SIDE), arrays_of(SIDE, SIDE, SIDE))
def test_any_labels_are_scored_or_refused(truth: np.ndarray, prediction: np.ndarray) -> None:
    for other in (prediction, truth):
        try:
            scores = score_instances(truth, other)
        except InputError:
            continue
        assert all(np.isfinite(value) or np.isnan(value) for value in scores.values())
        if other is truth and truth.any():
            assert scores["coco_ap50"] == 1


@FUZZED
@given(arrays_of(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)))
def test_any_whole_numbers_become_targets(label: np.ndarray) -> None:
    try:
        check_label(label, "label")
        targets = Representation([Foreground(), Contour(), SignedDistance()]).encode(label)
    except InputError:
        return
    assert targets.shape == (3, *label.shape)
    assert np.isfinite(targets).all()
    np.testing.assert_array_equal(targets[0] > 0, label > 0)


# ---- what claims more than there is ----------------------------------------------------------------------------------
def test_hdf5_that_claims_terabytes_is_refused_before_any_memory_is_taken(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", HUGE, np.uint8, chunks=(64, 64, 64))[0, 0, 0] = 1
    with pytest.raises(InputError, match=r"says it holds 10000.0 GB .* Read it in parts"):
        read_volume(tmp_path / "a.h5")
    assert open_volume(tmp_path / "a.h5")[0:2, 0:2, 0:2].shape == (2, 2, 2)


def test_zarr_that_claims_terabytes_is_refused_before_any_memory_is_taken(tmp_path: Path) -> None:
    create_zarr(tmp_path / "a.zarr", HUGE, np.uint8, (64, 64, 64))
    with pytest.raises(InputError, match=r"says it holds 10000\.0 GB"):
        read_volume(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"one chunk: says it holds 10000\.0 GB"):
        create_zarr(tmp_path / "b.zarr", HUGE, np.uint8, HUGE)


def test_tiff_that_claims_terabytes_is_refused_before_any_memory_is_taken(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 8, 8), np.uint8), compression="zlib", bigtiff=True)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        for page in file.pages:
            page.tags["ImageWidth"].overwrite(1_000_000)
            page.tags["ImageLength"].overwrite(1_000_000)
            page.tags["RowsPerStrip"].overwrite(1_000_000)
    with pytest.raises(InputError, match=r"a\.tif"):
        read_volume(tmp_path / "a.tif")


# ---- code in a file --------------------------------------------------------------------------------------------------
class Payload:
    """Makes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": Payload(tmp_path / "ran")}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="found no readable weights"):
        load_weights(torch.nn.Conv3d(1, 1, 1), str(tmp_path / "model.pt"))
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have
