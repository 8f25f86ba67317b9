"""Names as people type them: expanded once, for every command; what MONAI would change is rejected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from scripts.check import check_config
from scripts.command.address import expanded
from scripts.command.argument import bound
from scripts.command.bundle import BUNDLE
from scripts.compare.command import compare
from scripts.compare.demo import demo
from scripts.errors import InputError
from scripts.report.command import report
from scripts.volume_io import list_volumes, read_volume, split_dataset, write_volume

CONFIGS = {name: str(BUNDLE / "configs" / f"{name}.yaml") for name in ("train", "inference")}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINE", str(tmp_path / "mine"))
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_home_and_variables_are_replaced(home: Path) -> None:
    for name in ("~/mine/a.tif", "$MINE/a.tif", "${MINE}/a.tif", "${HOME}/mine/a.tif"):
        assert expanded(name) == f"{home}/mine/a.tif"
        assert split_dataset(f"{name}::raw") == (home / "mine" / "a.tif", "raw")
    assert expanded("$MINE") == str(home / "mine")
    assert expanded("x/$HOME") == f"x/{home}"
    for name in (
        "a.tif",
        "a~1.tif",
        "$None",
        "$@bundle_root + '/data'",
        "$['a', 'b']",
        "$os.path.join('a', 'b')",
        "5$.tif",
    ):
        assert expanded(name) == name


def test_what_is_not_known_is_rejected_and_a_file_of_that_name_is_taken(home: Path) -> None:
    for name in ("$NOT_SET/a.tif", "${NOT_SET}/a.tif", "x/$NOT_SET.tif"):
        with pytest.raises(InputError, match="found no environment variable NOT_SET"):
            expanded(name)
    with pytest.raises(InputError, match="found no home folder of ~nobody_here"):
        expanded("~nobody_here/a.tif")
    for name in (
        "~a.tif",
        "x$NOT_SET.tif",
        "a[1].tif",
        "b*.tif",
        "c?.tif",
        "d,e f.tif",
        "g::h.tif",
        "#1.tif",
        "%@.tif",
    ):
        (home / name).touch()
        assert list_volumes(name) == [name]


def test_the_flags_of_our_commands_are_replaced(home: Path) -> None:
    given = bound(report, ["--image", "~/Y.tif", "--out=$MINE/r.png", "--title", "costs $MINE"], "report").arguments
    assert given == {"image": f"{home}/Y.tif", "out": f"{home}/mine/r.png", "title": "costs $MINE"}
    assert bound(report, ["--image", "fish#2.tif"], "report").arguments == {"image": "fish#2.tif"}


@pytest.mark.parametrize("base", ["train", "inference"])
def test_the_check_names_what_monai_would_change(base: str, home: Path) -> None:
    volumes = {"train": "image_x", "inference": "image"}[base]
    overrides: dict[str, Any] = {
        volumes: ["fish#2.tif"],
        "output_dir": "out #9",
        "dataset_dir": "%data",
        "bundle_root": ".",
    }
    found = [str(problem) for problem in check_config(CONFIGS[base], overrides, volumes=False).problems]
    assert len(found) == 3
    assert any("fish#2.tif: MONAI changes # to :: in every value, so it would use fish::2" in line for line in found)
    assert any(line.startswith("out #9: ") and line.endswith("(key output_dir)") for line in found)
    assert any(line.startswith("%data: ") and "Write ./%data" in line for line in found)
    overrides = {"model_path": "~/m::1.pt", "output_dir": "$NOT_SET/out"}
    found = [str(problem) for problem in check_config(CONFIGS[base], overrides, volumes=False).problems]
    assert any("m::1.pt: a name with ::" in line for line in found)
    assert any("found no environment variable NOT_SET" in line for line in found)


def test_commands_that_start_others_reject_what_those_would(home: Path, volumes: Path) -> None:
    for command in (compare, demo):
        with pytest.raises(InputError, match=r"out#1: MONAI changes # to :: in every value"):
            command(output_dir="out#1")
    for folder in "ab":
        write_volume(home / folder / "Y.tif", read_volume(volumes / "imageY.tif")[0])
    pair = {"image_x": str(volumes / "imageX_0.tif"), "label_x": str(volumes / "labelX_0.tif")}
    with pytest.raises(InputError, match=r"b/Y\.tif: all would be written to \S*out/Y_…"):
        compare(methods="classical", output_dir="out", **pair, image_y=[str(home / name / "Y.tif") for name in "ab"])
    assert not (home / "out#1").exists() and not (home / "out").exists()


def test_a_run_uses_the_names_in_full(
    home: Path, run_here: Callable[..., ConfigWorkflow], volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLUMES", str(volumes))
    monkeypatch.chdir(BUNDLE)
    names = {
        "image_x": ["$VOLUMES/imageX_0.tif"],
        "label_x": ["${VOLUMES}/labelX_0.tif"],
        "image_y": "$VOLUMES/imageY.tif",
    }
    run_here("training", "train", **names, output_dir="~/out", model_path="~/m/model.pt", max_iterations=2)
    assert (home / "m" / "model.pt").is_file() and (home / "out" / "run.json").is_file()
    assert not os.path.lexists(BUNDLE / "~") and not os.path.lexists(BUNDLE / "$VOLUMES")
