"""`adapt` from Python: arrays in, arrays and a model out, and nothing on the disk unless it is asked for."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.adapt import Adapted, adapt, adaptation, segment
from scripts.adapt.memory import PeakMemory
from scripts.errors import InputError
from scripts.plan.file import read_plan
from scripts.volume_io import read_volume

SIZE = (2.0, 1.0, 0.5)


@pytest.fixture
def arrays(volumes: Path) -> dict[str, Any]:
    """X and Y as arrays, and how large their voxels are."""
    names = {"image_x": "imageX_0", "label_x": "labelX_0", "image_y": "imageY"}
    found = {role: read_volume(volumes / f"{name}.tif")[0] for role, name in names.items()}
    return {**found, "voxel_size_x": SIZE, "voxel_size_y": SIZE}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_arrays_give_instances_and_a_model_and_leave_nothing(
    arrays: dict[str, Any], volumes: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(here)
    environment = dict(os.environ)
    label_y = read_volume(volumes / "labelY.tif")[0]
    image_y = [arrays["image_y"], str(volumes / "imageY.tif")]
    labels = [label_y, volumes / "labelY.tif"]
    short = {"max_iterations": np.int64(2), "warm_up_iterations": 0}
    found = adapt(**{**arrays, "image_y": image_y}, label_y=labels, config=str(tiny), **short)
    assert [instances.shape for instances in found.instances] == [arrays["image_y"].shape] * 2
    assert found.figures["scores"]["present"] == 12
    assert found.plan is not None and found.plan.voxel_size == SIZE
    assert {*found.table["volume"]} <= {"image_y_0.h5", "imageY.tif"} and found.table["id"].dtype.kind in "if"
    assert found.folder is None
    left = [path for path in files(scratch) if path.startswith("adapt_")]
    assert (left, files(here), dict(os.environ)) == ([], [], environment)
    again = segment(arrays["image_y"], found, SIZE)
    np.testing.assert_array_equal(again.instances, found.instances[0])
    found.save(tmp_path / "model.pt")
    assert read_plan(tmp_path / "model.pt") == found.plan
    np.testing.assert_array_equal(segment(volumes / "imageY.tif", tmp_path / "model.pt").instances, again.instances)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Nothing is trained: the arguments of the command are kept."""
    found: list[dict[str, Any]] = []

    def adapt_files(output_dir: str, **given: Any) -> dict[str, Any]:
        found.append({**given, "output_dir": output_dir})
        if given.get("max_iterations") == "many":
            raise InputError("max_iterations: found 'many'")
        (Path(output_dir) / "settings.json").write_text("{}")
        return {}

    monkeypatch.setattr(adaptation, "adapt_files", adapt_files)
    monkeypatch.setattr(adaptation, "_result", lambda *_: Adapted([], {}, None, {}, {}, None))
    return found


def test_with_a_folder_arrays_are_stored_once_and_others_do_not_replace_them(
    arrays: dict[str, Any], volumes: Path, tmp_path: Path, called: list[dict[str, Any]]
) -> None:
    out = tmp_path / "new" / "out"
    given = {**arrays, "image_x": [arrays["image_x"].astype(">f8")], "label_x": [volumes / "labelX_0.tif"]}
    adapt(**given, output_dir=out, effort="standard", config=tmp_path / "own.yaml", patch_size=np.array([8, 8, 8]))
    stored = {path: path.stat().st_mtime_ns for path in (out / "volumes").iterdir()}
    assert sorted(path.name for path in stored) == ["image_x_0.h5", "image_y.h5"]
    [first] = called
    assert first["image_x"] == [str(out / "volumes" / "image_x_0.h5")]
    assert (first["label_x"], first["voxel_size_x"]) == ([str(volumes / "labelX_0.tif")], [*SIZE])
    assert (first["effort"], first["patch_size"], "voxel_size_y" in first) == ("standard", [8, 8, 8], False)
    assert first["config"] == str(tmp_path / "own.yaml")
    array, size = read_volume(out / "volumes" / "image_x_0.h5")
    assert np.array_equal(array, arrays["image_x"]) and size == SIZE
    adapt(**given, output_dir=out)
    with pytest.raises(InputError, match=r"image_y.h5: holds another volume than image_y, of an earlier call"):
        adapt(**{**given, "image_y": arrays["image_y"][::-1]}, output_dir=out)
    assert {path: path.stat().st_mtime_ns for path in (out / "volumes").iterdir()} == stored


def test_what_the_command_rejects_leaves_no_volumes(
    arrays: dict[str, Any], tmp_path: Path, called: list[dict[str, Any]]
) -> None:
    with pytest.raises(InputError, match="found 'many'"):
        adapt(**arrays, output_dir=tmp_path / "out", max_iterations="many")
    assert len(called) == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_x": np.ones((4, 4))}, "image_x: 2D"),
        ({"image_y": [np.ones((1, 9, 9, 9))]}, "image_y[0]: 4D"),
        ({"image_y": np.full((9, 9, 9), np.nan)}, "image_y: 729 NaN"),
        ({"image_y": np.ones((0, 9, 9))}, "image_y: shape (0, 9, 9), no voxels"),
        ({"image_y": []}, "image_y: found an empty list"),
        ({"image_y": None}, "image_y: values of type object"),
        ({"label_x": np.ones((9, 9, 9))}, "label_x: a label of type float64"),
        ({"label_x": np.arange(1000).reshape(10, 10, 10) // 40}, "label_x: found shape (10, 10, 10), expected"),
        ({"label_x": []}, "label_x: found an empty list"),
        ({"image_x": ["a.tif", "b.tif"]}, "label_x: found 1 volumes, expected 2, one for each of image_x"),
        ({"label_y": np.zeros((32, 64, 64), np.uint8)}, "label_y: no object"),
        ({"voxel_size_y": (0, 1, 1)}, "voxel_size_y: found (0, 1, 1), expected three positive micrometres"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_arrays_are_one_line_before_any_work(
    change: dict[str, Any], message: str, arrays: dict[str, Any], tmp_path: Path, called: list[dict[str, Any]]
) -> None:
    with pytest.raises(InputError) as raised:
        adapt(**{**arrays, **change}, output_dir=tmp_path / "out")
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert (called, files(tmp_path)) == ([], [])


def test_the_thread_that_watches_memory_ends_with_its_object() -> None:
    before = {*threading.enumerate()}
    peak = PeakMemory()
    [thread] = {*threading.enumerate()} - before
    assert peak.megabytes >= 0
    del peak
    thread.join(timeout=60)
    assert not thread.is_alive()
