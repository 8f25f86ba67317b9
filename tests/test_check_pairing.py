"""Images beside their own labels, and no volume in two roles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.check import check_config
from scripts.check.command import check
from scripts.check.run import check_inference, check_training
from scripts.command.bundle import BUNDLE
from scripts.dataset import volume_items
from scripts.errors import InputError
from scripts.match_domains.__main__ import main as match_domains
from scripts.volume_io import list_volumes, read_volume, write_volume
from scripts.volume_io.pattern import check_pairs

TRAIN = str(BUNDLE / "configs" / "train.yaml")


def touch(folder: Path, *names: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


def test_a_pattern_is_sorted_by_number_and_pairs_by_number(tmp_path: Path) -> None:
    images = touch(tmp_path / "img", "vol_1.tif", "vol_2.tif", "vol_10.tif", "vol_11.tif")
    labels = touch(tmp_path / "lab", "vol_01.tif", "vol_02.tif", "vol_10.tif", "vol_11.tif")
    assert list_volumes(tmp_path / "img" / "*.tif") == images
    items = volume_items(str(tmp_path / "img" / "*.tif"), str(tmp_path / "lab" / "*.tif"))
    assert items == [{"image": i, "label": m} for i, m in zip(images, labels, strict=True)]
    folders = [touch(tmp_path / name, "a.tif")[0] for name in ("fish9", "fish10")]
    assert list_volumes(str(tmp_path / "fish*" / "a.tif")) == folders


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["vol_1", "vol_2", "vol_4"], ["vol_01", "vol_02", "vol_03"]),
        (["2024-01-05_1", "2024-02-07_2"], ["2024-01-05_1_seg", "2024-02-08_2_seg"]),
        (["t1_c0", "t2_c0"], ["t2_c1", "t3_c1"]),
        (["alpha", "beta"], ["beta_mask", "gamma_mask"]),
    ],
)
def test_pairs_of_a_pattern_that_disagree_are_named(tmp_path: Path, images: list[str], labels: list[str]) -> None:
    touch(tmp_path / "img", *(f"{name}.tif" for name in images))
    touch(tmp_path / "lab", *(f"{name}.tif" for name in labels))
    with pytest.raises(InputError, match=r"pair wrongly by their names: \S+\.tif with \S+\.tif.*Expected each image"):
        volume_items(str(tmp_path / "img" / "*.tif"), str(tmp_path / "lab" / "*.tif"))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["img/a.tif"], ["lab/b2.tif"]),
        (["img/1.tif", "img/2.tif"], ["lab/one.tif", "lab/two.tif"]),
        (["img/img2023_1.tif", "img/img2023_2.tif"], ["lab/seg_001_v3.nii.gz", "lab/seg_002_v3.nii.gz"]),
        (["d/1/image.h5::raw", "d/2/image.h5::raw"], ["d/1/image.h5::label", "d/2/image.h5::label"]),
        (["v.h5::a/raw", "v.h5::b/raw"], ["v.h5::a/seg", "v.h5::b/seg"]),
        (["same.tif", "same.tif"], ["lab/1.tif", "lab/2.tif"]),
        (["t1_c1.tif", "t1_c2.tif", "t2_c1.tif"], ["a1.tif", "a2.tif", "a3.tif"]),
        (["left.tif", "right.tif"], ["mask_l.tif", "mask_r.tif"]),
    ],
)
def test_names_that_agree_or_tell_nothing_pass(images: list[str], labels: list[str]) -> None:
    check_pairs(images, labels, sorted_by_name=True)


def test_lists_are_rejected_where_another_order_fits_and_warned_of_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match=r"img/2\.tif with lab/10\.tif, img/10\.tif with lab/2\.tif\. Expected"):
        check_pairs(["img/1.tif", "img/2.tif", "img/10.tif"], ["lab/1.tif", "lab/10.tif", "lab/2.tif"], False)
    assert not caplog.messages
    check_pairs(["img/0.tif", "img/1.tif"], ["lab/1.tif", "lab/2.tif"], False)
    assert "img/0.tif with lab/1.tif" in caplog.text
    with pytest.raises(InputError, match="2 images and 1 labels: expected one label for each image"):
        check_pairs(["a", "b"], ["c"], False)


def test_a_pattern_leaves_out_what_the_bundle_wrote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["Y.tif", "Y_instances.tif", "Y_trans.tif", "instances.tif", "mapsy.tif"]
    paths = touch(tmp_path, *names, "Y_maps.h5")
    assert list_volumes(str(tmp_path / "*.tif")) == [paths[0], paths[4]]
    assert "results of this bundle are left out" in caplog.text and "Y_instances.tif" in caplog.text
    assert list_volumes(str(tmp_path / "*_instances.tif")) == [paths[1]]
    assert list_volumes(str(tmp_path / "*.h5")) == [str(tmp_path / "Y_maps.h5")]
    assert list_volumes(paths[1]) == [paths[1]]


def test_brackets_and_stars_of_a_folder_that_is_there_are_part_of_its_name(tmp_path: Path) -> None:
    paths = touch(tmp_path / "a[1] *", "vol_1.tif", "vol_2.tif", "b[0].tif")
    assert list_volumes(str(tmp_path / "a[1] *" / "vol_?.tif")) == paths[:2]
    assert list_volumes(paths[2]) == [paths[2]]
    with pytest.raises(InputError, match=r"none\.tif: no such file"):
        list_volumes(str(tmp_path / "a[1] *" / "none.tif"))


@pytest.fixture
def given(volumes: Path, tmp_path: Path) -> dict[str, Any]:
    names = {"image_x": "imageX_0.tif", "label_x": "labelX_0.tif", "image_y": "imageY.tif"}
    return {name: str(volumes / file) for name, file in names.items()}


def rejected(given: dict[str, Any], tmp_path: Path, words: str) -> None:
    """The run, match_domains and the check say the same."""
    with pytest.raises(InputError, match=words):
        check_training(**given, output_dir=str(tmp_path / "out"), model_path=str(tmp_path / "m.pt"))
    if "label_y" not in given:
        with pytest.raises(InputError, match=words):
            match_domains(**given, out=str(tmp_path / "match.yaml"))
    with pytest.raises(InputError, match=words):
        check(config_file=TRAIN, **given)
    assert not (tmp_path / "match.yaml").exists()


def test_an_image_of_x_given_as_y_is_rejected(given: dict[str, Any], volumes: Path, tmp_path: Path) -> None:
    link, copy = tmp_path / "link.tif", tmp_path / "copy.h5"
    link.symlink_to(given["image_x"])
    write_volume(copy, read_volume(given["image_x"])[0].astype(np.float32))
    for name, words in (
        (given["image_x"], "the same volume as in image_x"),
        (str(link), "the same"),
        (str(copy), "a copy"),
    ):
        rejected({**given, "image_y": name}, tmp_path, rf"given as image_y, but it is {words}")
    names = {"image_x": "image_y", "label_x": "label_y"}
    labelled = {**given, "image_y": str(volumes / "imageY.tif"), "label_y": str(volumes / "labelY.tif")}
    oracle = {**labelled, **{name: labelled[other] for name, other in names.items()}}
    check_training(**oracle, output_dir=str(tmp_path / "out"), model_path=str(tmp_path / "m.pt"))


def test_one_volume_as_image_and_label_is_rejected(given: dict[str, Any], tmp_path: Path) -> None:
    words = "given as a label and as an image"
    rejected({**given, "label_x": given["image_x"]}, tmp_path, words)
    rejected({**given, "image_x": given["label_x"]}, tmp_path, words)
    rejected({**given, "label_y": given["image_y"]}, tmp_path, words)
    with pytest.raises(InputError, match=words):
        check_inference(given["image_y"], str(tmp_path / "out"), label=given["image_y"])


def test_image_and_label_the_wrong_way_round_are_rejected(given: dict[str, Any], tmp_path: Path) -> None:
    swapped = {**given, "image_x": given["label_x"], "label_x": given["image_x"]}
    words = r"imageX_0\.tif: .*looks like a grey image.*Were image and label given the wrong way round"
    with pytest.raises(InputError, match=words):
        match_domains(**swapped, out=str(tmp_path / "match.yaml"))
    with pytest.raises(InputError, match=words):
        check(config_file=TRAIN, **swapped)


@pytest.mark.parametrize(
    ("overrides", "is_rejected"),
    [
        ({"max_iterations": 1000}, True),
        ({"max_iterations": 50, "warm_up_iterations": 50}, True),
        ({"max_iterations": 50}, False),
        ({"max_iterations": 2000, "learning_rate_warm_up": 1500}, False),
    ],
)
def test_a_course_without_room_for_its_second_part_is_reported(
    overrides: dict[str, Any], is_rejected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    found = [str(problem) for problem in check_config(TRAIN, overrides, volumes=False).problems]
    assert [line.startswith("warm_up") or "warm_up_iterations: found" in line for line in found] == [True] * is_rejected
    assert bool(caplog.messages) != is_rejected
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    overlay = str(BUNDLE / "configs" / "baseline_source_only.yaml")
    caplog.clear()
    assert not check_config([TRAIN, overlay], {"max_iterations": 1000}, volumes=False).problems and not caplog.messages
