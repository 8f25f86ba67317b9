"""Texts that are kept with a file: they come back whatever the format calls them, and outlast a rerun."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.plan.file import METADATA, read_plan
from scripts.volume_io import create_zarr, read_attribute, read_volume, write_volume

LABELS = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)
PLAN = Plan({"scale": [1.0, 0.5, 0.5]}, "0.5.0", {"image_y": ["größer.tif"] * 5000})


@pytest.mark.parametrize("name", ["a.h5", "a.zarr", "a.ome.zarr"])
def test_a_result_carries_its_plan(name: str, tmp_path: Path) -> None:
    kept = {METADATA: PLAN.to_text()}
    write_volume(tmp_path / name, LABELS, labels=True, attributes=kept)
    inner = {"a.h5": "a.h5::main", "a.zarr": "a.zarr::main", "a.ome.zarr": "a.ome.zarr/0"}[name]
    assert read_plan(tmp_path / name) == read_plan(str(tmp_path / inner)) == PLAN
    np.testing.assert_array_equal(read_volume(tmp_path / name)[0], LABELS)


@pytest.mark.parametrize("name", ["a.h5", "a.zarr", "a.ome.zarr", "a.tif", "a.nii.gz"])
def test_a_file_without_a_plan_has_none(name: str, tmp_path: Path) -> None:
    write_volume(tmp_path / name, LABELS)
    assert read_plan(tmp_path / name) is None


def test_what_another_program_calls_so_is_no_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["main"], file.attrs[METADATA] = LABELS, [1, 2, 3]
    assert read_attribute(tmp_path / "a.h5", METADATA) is None


def test_a_missing_or_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"a\.h5"):
        read_plan(tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"gone\.zarr: no such file"):
        read_plan(tmp_path / "gone.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_rerun_renews_the_text_of_a_store_and_nothing_else(zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    for text in ("one", "other"):
        store = create_zarr(
            path, LABELS.shape, np.uint16, (2, 3, 5), zarr_format=zarr_format, attributes={METADATA: text}
        )
        store[:2] = LABELS[:2]
        assert read_attribute(path, METADATA) == text
    changed = [file.stat().st_mtime_ns for file in sorted(path.rglob("*")) if file.is_file()]
    create_zarr(path, LABELS.shape, np.uint16, (2, 3, 5), zarr_format=zarr_format, attributes={METADATA: "other"})
    assert changed == [file.stat().st_mtime_ns for file in sorted(path.rglob("*")) if file.is_file()]
