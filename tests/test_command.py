"""MONAI's commands started from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.command import BUNDLE, as_read, run_bundle
from scripts.errors import InputError


def test_the_bundle_is_found_from_anywhere() -> None:
    assert (BUNDLE / "configs" / "train.yaml").is_file()


def test_a_command_that_fails_is_an_error_that_names_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = {"image_x": tmp_path / "none.tif", "output_dir": tmp_path / "out"}
    with pytest.raises(InputError, match=r"monai\.bundle run training"):
        run_bundle("training", ["train"], missing)
    assert "none.tif" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_texts_are_read_as_by_the_command_line() -> None:
    given = as_read({"patch_size": "[8, 16, 16]", "amp": "true", "output_dir": Path("out"), "label_y": None})
    assert given == {"patch_size": [8, 16, 16], "amp": "true", "output_dir": "out", "label_y": None}


def test_a_path_that_looks_like_a_number_is_handed_on_as_a_name() -> None:
    given = {
        "output_dir": "20241105",
        "image_y": ["1e5", "b.tif"],
        "dataset_dir": Path("0x10"),
        "label_y": "fish#2.tif",
    }
    assert as_read(given) == {**given, "dataset_dir": "0x10"}
    assert as_read({"image_x": "['a.tif','b.tif']"}) == {"image_x": ["a.tif", "b.tif"]}
