"""Names of results: two volumes never share one, and no result of another volume is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged, SaveImaged
from scripts.errors import InputError
from scripts.volume_io import (
    VolumeReader,
    VolumeWriter,
    check_results,
    read_volume,
    result_name,
    short_name,
    write_volume,
)
from scripts.volume_io.result import result_stem

IMAGE = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)


@pytest.mark.parametrize(
    ("name", "stem", "short"),
    [
        ("D/Y.tif", "Y", "Y.tif"),
        ("D/Y.nii.gz", "Y", "Y.nii.gz"),
        ("D/Y.ome.tif", "Y.ome", "Y.ome.tif"),
        ("D/Y.ome.zarr/", "Y.ome", "Y.ome.zarr"),
        ("D/Y.ome.zarr::1", "Y.ome_1", "Y.ome.zarr::1"),
        ("D/Y.ome.zarr/labels/cells", "Y.ome_labels_cells", "Y.ome.zarr::labels/cells"),
        ("D/vol.h5::raw", "vol_raw", "vol.h5::raw"),
        ("D/vol.h5::/b/raw.1", "vol_b_raw.1", "vol.h5::b/raw.1"),
        ("D/a.b (1) [2].tif", "a.b (1) [2]", "a.b (1) [2].tif"),
    ],
)
def test_a_volume_names_its_results_by_file_and_place_in_it(name: str, stem: str, short: str) -> None:
    assert (result_stem(name), short_name(name)) == (stem, short)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str], list[str]]:
    """Load and save as inference does; return the names that were written."""

    def save(name: str) -> list[str]:
        before = set(os.listdir(tmp_path / "out")) if (tmp_path / "out").exists() else set()
        writer = {"writer": VolumeWriter, "output_dir": tmp_path / "out", "output_name_formatter": result_name}
        options: dict[str, Any] = {**writer, "separate_folder": False, "resample": False, "print_log": False}
        load = LoadImaged("image", reader=VolumeReader, dtype=None, ensure_channel_first=True)
        maps = SaveImaged("image", output_postfix="maps", output_ext=".h5", **options)
        Compose([load, maps, SaveImaged("image", output_postfix="instances", output_ext=".tif", **options)])(
            {"image": name}
        )
        return sorted(set(os.listdir(tmp_path / "out")) - before)

    return save


def test_datasets_and_levels_have_results_of_their_own(tmp_path: Path, save: Callable[[str], list[str]]) -> None:
    with h5py.File(tmp_path / "vol.h5", "w") as file:
        file["a/raw"], file["b/raw"] = IMAGE, IMAGE + 1
    names = [str(tmp_path / f"vol.h5::{group}/raw") for group in "ab"]
    check_results(names, tmp_path / "out")
    assert [save(name) for name in names] == [[f"vol_{g}_raw_instances.tif", f"vol_{g}_raw_maps.h5"] for g in "ab"]
    assert (read_volume(tmp_path / "out" / "vol_b_raw_instances.tif")[0] == IMAGE + 1).all()
    write_volume(tmp_path / "Y.ome.zarr", IMAGE)
    assert save(f"{tmp_path / 'Y.ome.zarr'}/") == ["Y.ome_instances.tif", "Y.ome_maps.h5"]


def test_two_volumes_of_one_name_are_rejected_also_if_capitals_differ(tmp_path: Path) -> None:
    for folder, name in (("a", "Y.tif"), ("b", "Y.tif"), ("c", "y.h5"), ("c", "vol_raw.tif"), ("c", "vol.h5")):
        write_volume(tmp_path / folder / name, IMAGE, dataset="raw")
    for one, other in (("a/Y.tif", "b/Y.tif"), ("a/Y.tif", "c/y.h5"), ("c/vol_raw.tif", "c/vol.h5::raw")):
        with pytest.raises(InputError, match=r"all would be written to \S*out/([Yy]|vol_raw)_….*names that differ"):
            check_results([str(tmp_path / one), str(tmp_path / other)], tmp_path / "out")


def test_a_later_run_replaces_its_own_results_alone(tmp_path: Path, save: Callable[[str], list[str]]) -> None:
    for folder in ("a", "b"):
        write_volume(tmp_path / folder / "Y.tif", IMAGE)
    first, second, linked = (tmp_path / name for name in ("a/Y.tif", "b/Y.tif", "link.tif"))
    os.utime(second, (0, 0))
    linked.symlink_to(first)
    save(str(first))
    check_results([str(first)], tmp_path / "out")
    check_results([os.path.relpath(first)], tmp_path / "out")
    with pytest.raises(InputError, match=r"Y_maps\.h5: holds the result of \S+a/Y\.tif, and that of \S+b/Y\.tif would"):
        check_results([str(second)], tmp_path / "out")
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    shutil.copystat(first, tmp_path / "moved" / "Y.tif")
    check_results([str(tmp_path / "moved" / "Y.tif")], tmp_path / "out")
    write_volume(tmp_path / "out" / "Y_maps.h5", IMAGE)  # of another program, or an earlier version
    check_results([str(second)], tmp_path / "out")


def test_a_volume_named_twice_is_rejected(tmp_path: Path) -> None:
    write_volume(tmp_path / "Y.tif", IMAGE)
    with pytest.raises(InputError, match=r"Y\.tif: found twice among the volumes"):
        check_results([str(tmp_path / "Y.tif")] * 2, tmp_path / "out")
