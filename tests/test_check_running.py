"""The check where MONAI runs: as a workflow's first step, and against MONAI's own merging and the bundle's classes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.utils.module import locate
from scripts.check.merge import Merged
from scripts.check.range import AMOUNTS, OPTIONS, RANGES
from scripts.check.rule import DECODERS
from scripts.check.source import read_source
from scripts.check.value import MAPS
from scripts.command.start import expected_error
from scripts.transforms import sample_augmentation
from scripts.watershed.decode import HEIGHTS
from scripts.watershed.pipeline import TIES
from scripts.watershed.small_instance import SMALL_MODES

Run = Callable[..., Any]
BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
CONFIGS = BUNDLE / "configs"


def config(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


@pytest.fixture
def files(volumes: Path) -> dict[str, Path]:
    return {
        key: volumes / f"{name}.tif"
        for key, name in (("image_x", "imageX_0"), ("label_x", "labelX_0"), ("image_y", "imageY"))
    }


@pytest.mark.parametrize("base", ["train", "inference"])
def test_a_merge_is_that_of_monai(base: str) -> None:
    overlays = [path for path in sorted(CONFIGS.glob("*.yaml")) if base in read_source(path).overlay_on]
    files = [config(base), *(path for path in overlays if path.stem != "blockwise")]
    merged = Merged([read_source(file) for file in files], {})
    assert merged.config == ConfigParser.load_config_files([str(file) for file in files])


def test_tables_of_maps_and_decoders_are_those_of_the_classes() -> None:
    for target, (name, channels) in MAPS.items():
        one = locate(target)()
        assert (one.name, one.channels) == (name, channels)
    assert {target: tuple(locate(target).map_names) for target in DECODERS} == DECODERS
    for name, values in (("small_mode", SMALL_MODES), ("height", HEIGHTS), ("ties", TIES)):
        assert tuple(RANGES[f"decoder::{name}"]["enum"]) == values


def test_the_table_of_options_is_that_of_the_optimisers_and_the_published_amounts() -> None:
    names = [key.removeprefix(f"{AMOUNTS}::") for key in OPTIONS if key.startswith(AMOUNTS)]
    published = sample_augmentation([8, 8, 8], dict.fromkeys(names, 1.0)).transforms
    ours = {type(one.transform) for one in published if type(one).__module__.startswith("scripts.")}
    assert {locate(OPTIONS[f"{AMOUNTS}::{name}"]) for name in names} == ours
    given = {key for key in read_source(config("train")).content["optimizers"] if key not in ("_target_", "networks")}
    assert given == {key.removeprefix("optimizers::") for key in OPTIONS if key.startswith("optimizers")}


def message_of(run: Run, *names: str, **overrides: Any) -> str:
    """What stops a run that `run_here` starts."""
    with pytest.raises(Exception) as raised:
        run(*names, **overrides)
    error = expected_error(raised.value)
    assert error is not None, raised.value
    return str(error)


def test_a_workflow_of_monai_is_stopped_before_any_work(run_here: Run, files: dict[str, Path], tmp_path: Path) -> None:
    given = {**files, "output_dir": tmp_path / "out", "learning_rte": 0.1, "betas": [2, 3]}
    message = message_of(run_here, "training", "train", **given)
    assert message.startswith("2 problems, before any work:")
    assert "learning_rte: found an unknown key" in message
    assert not (tmp_path / "out").exists()


def test_the_command_of_monai_names_the_file_and_the_command_line(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("batch_sise: 3\n")
    command = [sys.executable, "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", str([str(config("train")), str(path)]), "--bundle_root", str(BUNDLE)]
    for key, value in {**files, "output_dir": tmp_path / "out", "learning_rte": 0.1, "pair_transforms": None}.items():
        command += [f"--{key}", str(value)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}:1: batch_sise: found an unknown key" in done.stderr
    assert "command line: learning_rte: found an unknown key" in done.stderr
    assert "command line: pair_transforms: found None, which MONAI leaves out" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_workflow_without_such_a_run_id_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MONAI Label and `check_properties` look parts up one by one."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for run_id in ("", "nothing"):
        workflow = ConfigWorkflow(
            str(config("train")), run_id=run_id, logging_file=False, bundle_root=str(BUNDLE), betas=3
        )
        workflow.initialize()


def test_every_list_of_first_steps_has_the_check() -> None:
    for path in CONFIGS.glob("*.yaml"):
        steps = read_source(path).content.get("initialize")
        assert steps is None or {"_target_": "scripts.check.check_run"} in steps, path.name
