"""The check of the volumes that a configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.check import Findings, check_config
from scripts.check.command import check
from scripts.volume_io import ChunkedVolume, write_volume

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"


def config(name: str) -> Path:
    return BUNDLE / "configs" / f"{name}.yaml"


@pytest.fixture
def files(volumes: Path) -> dict[str, str]:
    names = {"image_x": "imageX_*.tif", "label_x": "labelX_*.tif", "image_y": "volumeY.h5"}
    return {key: str(volumes / name) for key, name in names.items()}


def with_volumes(base: str, *overlays: str, **overrides: Any) -> Findings:
    return check_config([config(name) for name in (base, *overlays)], overrides)


def test_of_volumes_the_heads_and_one_voxel_are_read(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, volumes: Path
) -> None:
    read = ChunkedVolume.__getitem__

    def counted(volume: ChunkedVolume, box: Any) -> np.ndarray:
        part = read(volume, box)
        assert part.size == 1
        return part

    monkeypatch.setattr("scripts.volume_io.chunked.ChunkedVolume.__getitem__", counted)
    found = with_volumes("train", **files)
    assert found.problems == []
    assert set(found.shapes.values()) == {(32, 64, 64)}
    assert len(found.shapes) == 5
    image = {"image": str(volumes / "storeY.ome.zarr"), "model_path": str(BUNDLE / "models" / "model.pt")}
    assert with_volumes("inference", **image).problems == []


def test_all_that_is_wrong_with_volumes_is_told_at_once(files: dict[str, str], volumes: Path, tmp_path: Path) -> None:
    write_volume(tmp_path / "cut.tif", np.zeros((32, 64, 60), np.uint8))
    wrong = {"label_x": [str(tmp_path / "cut.tif")], "image_y": str(volumes / "imageZ.tif"), "start_from": "none.pt"}
    lines = [str(problem) for problem in with_volumes("train", **{**files, **wrong}).problems]
    assert any("2 images and 1 labels" in line and "key label_x" in line for line in lines)
    assert any(f"{tmp_path / 'cut.tif'}: shape (32, 64, 60) (z, y, x), but its image" in line for line in lines)
    assert any(line.startswith(f"{volumes / 'imageZ.tif'}: no such file") and "key image_y" in line for line in lines)
    assert any(line.startswith("none.pt: no such file") for line in lines)
    assert len(lines) == 4


def test_what_only_decoding_shows_is_told(files: dict[str, str], tmp_path: Path) -> None:
    write_volume(tmp_path / "a.zarr", np.zeros((32, 64, 64), np.uint8))
    metadata = tmp_path / "a.zarr" / "main" / ".zarray"
    metadata.write_text(metadata.read_text().replace("blosc", "jpeg9"))
    (line,) = [
        str(problem) for problem in with_volumes("train", **{**files, "image_y": str(tmp_path / "a.zarr")}).problems
    ]
    assert "its codec 'jpeg9' is not supported" in line and "key image_y" in line


def test_a_patch_larger_than_a_volume_after_scaling_is_told(files: dict[str, str]) -> None:
    wide = {**files, "patch_size": [16, 40, 40]}
    lines = [str(problem) for problem in with_volumes("train", **wide).problems]
    assert len(lines) == 3  # two of X, one of Y
    assert "patch_size: found [16, 40, 40], expected at most [32, 32, 32], which " in lines[0]
    assert lines[0].endswith("(32, 64, 64) has after scale_x [1.0, 0.5, 0.5]. The largest that fits is [16, 32, 32].")
    assert with_volumes("train", **wide, scale_x=[1, 1, 1], scale_y=[1, 1, 1]).problems == []


def test_a_scale_that_cannot_be_right_is_told_before_any_work(
    files: dict[str, str], volumes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    (line,) = [str(problem) for problem in with_volumes("train", **files, scale_y=[1000, 1000, 1000]).problems]
    assert "scale_y: found [1000, 1000, 1000]" in line and "to 20" in line
    monkeypatch.setattr("scripts.volume_io.volume.available_bytes", lambda: 10**9)
    large = {"scale_x": [2, 2, 2], "scale_y": [20, 20, 20]}
    (line,) = [str(problem) for problem in with_volumes("train", **files, **large).problems]
    assert "shape (32, 64, 64) becomes (640, 1280, 1280), 4.2 GB; 1.0 GB of memory are free" in line
    image = {"image": str(volumes / "storeY.ome.zarr"), "model_path": str(BUNDLE / "models" / "model.pt")}
    (line,) = [str(problem) for problem in with_volumes("inference", **image, scale=[20, 20, 20]).problems]
    assert "becomes (640, 1280, 1280)" in line and "key scale" in line
    for name, size in (("x.tif", (0.5, 0.2, 0.2)), ("l.tif", (0.5, 0.2, 0.2)), ("y.tif", (500, 200, 200))):
        write_volume(tmp_path / name, np.zeros((32, 64, 64), np.uint8), size)
    both = {"image_x": str(tmp_path / "x.tif"), "label_x": str(tmp_path / "l.tif"), "image_y": str(tmp_path / "y.tif")}
    assert with_volumes("train", **both).problems == []
    assert "differ by a factor of 1000" in caplog.text and "y.tif: 500 x 400 x 400 µm" in caplog.text


def test_what_is_read_is_looked_at_where_another_program_puts_its_own_volumes(files: dict[str, str]) -> None:
    """As MONAI Label does for X; image_x is then not asked for."""
    pair = {key: files[f"{key}_x"].replace("*", "0") for key in ("image", "label")}
    others = {**files, "image_x": "none.tif", "train#dataset#data": [pair], "validate#dataset#data": []}
    assert with_volumes("train", **others).problems == []
    for key in ("train", "validate"):
        [problem] = with_volumes("train", **{**others, f"{key}#dataset#data": [{**pair, "label": "b.tif"}]}).problems
        assert (problem.key, str(problem).startswith("b.tif: no such file")) == (f"{key}::dataset::data", True)
    wide = with_volumes("train", **others, patch_size=[16, 40, 40]).problems
    assert len(wide) == 2  # of X and of Y


def test_data_of_another_program_are_segmented_and_so_checked(files: dict[str, str]) -> None:
    image = files["image_y"]
    assert list(with_volumes("inference", **{"dataset#data": [{"image": image}]}).shapes) == [image]
    lost = with_volumes("inference", **{"dataset#data": [{"image": "none.tif"}]}).problems
    assert [str(problem)[:22] for problem in lost if problem.key != "model_path"] == ["none.tif: no such file"]
    both = with_volumes("inference", **{"dataset#data": [{"image": image}], "image": image}).problems
    assert ["found a key without effect" in str(problem) for problem in both if problem.key == "image"] == [True]


def test_the_command_says_what_it_looked_at(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    check("training", config_file=[config("train")], **files)
    said = capsys.readouterr().out
    assert said.startswith("no problem found, on top of train.yaml\n")
    assert "foreground, contour, distance" in said
    assert f"{files['image_y']} (32, 64, 64)" in said
