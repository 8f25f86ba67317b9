"""Shared fixtures: small phantoms, and the development data where it is present."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from hypothesis import settings
from monai.bundle import ConfigWorkflow
from scripts.errors import InputError
from scripts.volume_io import write_volume

import warm

os.environ.setdefault("MONAI_FAIL_ON_DUPLICATE_CONFIG", "1")
settings.register_profile("seeded", derandomize=True, deadline=None)  # the same cases in every run
settings.register_profile("random", max_examples=5000, deadline=None)  # others, and many: make fuzz
settings.load_profile("seeded")

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
TINY_DISCRIMINATOR = {
    "_target_": "scripts.networks.PatchDiscriminator3D",
    "filters": [8],
    "kernels": [[1, 3, 3], [3, 3, 3]],
    "strides": [[1, 2, 2], [1, 1, 1]],
}
TINY = {
    **yaml.safe_load((CONFIGS / "published.yaml").read_text()),
    "network_def::filters": [8, 16],
    "network_def::isotropic_from": 1,
    "network_def::padding_mode": "zeros",
    "network_def::non_local": False,
    "patch_size": [8, 32, 32],
    "window": [16, 64, 64],
    "window_padding": [0, 0, 0],
    "num_workers": 0,
    "max_iterations": 4,
    "warm_up_iterations": 2,
    "epoch_length": 2,
    "checkpoint_interval": 2,
    "validation_interval": 1,
    "panel_interval": 2,
    "keep": "last",
    "image_discriminator_def": {**TINY_DISCRIMINATOR, "in_channels": 1},
    "map_discriminator_def": {**TINY_DISCRIMINATOR, "in_channels": "$@representation.channels"},
}
VOXEL_SIZE = (2.0, 1.0, 0.5)
LONGEST = ("test_workflows", "test_blockwise", "test_stopping", "test_docs", "test_processes", "test_fuzz")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cold", action="store_true", help="start every command in a new Python, as users do")


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Run with warm commands, see warm.py; pytest-xdist starts its processes by `subprocess`, and keeps that."""
    is_worker, has_workers = hasattr(config, "workerinput"), config.getoption("numprocesses", None)
    cold = config.getoption("cold") or sys.platform != "linux"  # elsewhere forks of large programs may crash
    if not cold and not has_workers:
        subprocess.Popen = warm.Popen  # type: ignore[misc]
    with nullcontext() if cold or is_worker else warm.server():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first, so that none is left for one of two processes while the other has nothing to do."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("development data (shared/) is not beside this checkout")
    return folder


@pytest.fixture
def balls() -> np.ndarray:
    """Labels (Z, Y, X) = (16, 64, 64): two touching balls, one alone, one cut by the border; z is half as fine as y."""
    z, y, x = np.meshgrid(np.arange(16) * 2.0, np.arange(64.0), np.arange(64.0), indexing="ij")
    label = np.zeros((16, 64, 64), np.uint16)
    for i, (cz, cy, cx, r) in enumerate([(16, 20, 18, 9), (16, 20, 35, 9), (16, 48, 48, 8), (8, 60, 12, 9)], 1):
        label[((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= r * r) & (label == 0)] = i
    return label


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay on train.yaml or inference.yaml: four iterations of the smallest networks."""
    path = tmp_path_factory.mktemp("overlay") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 32 x 64 x 64 voxels: two pairs of X and one of Y as TIFF; Y also as HDF5, NIfTI and OME-Zarr."""
    folder = tmp_path_factory.mktemp("volumes")
    for name, seed in (("X_0", 0), ("X_1", 1), ("Y", 2)):
        rng = np.random.default_rng(seed)
        label = _grid_of_balls(rng)
        image = rng.normal(60, 5, label.shape) + 100 * (label > 0)
        image = image.clip(0, 255).astype(np.uint8)
        write_volume(folder / f"image{name}.tif", image, VOXEL_SIZE)
        write_volume(folder / f"label{name}.tif", label, VOXEL_SIZE)
    write_volume(folder / "volumeY.h5::grey/raw", image, VOXEL_SIZE)
    write_volume(folder / "stackY.nii.gz", image.astype(np.float32), VOXEL_SIZE)
    write_volume(folder / "storeY.ome.zarr", image, VOXEL_SIZE)
    return folder


def _grid_of_balls(rng: np.random.Generator) -> np.ndarray:
    z, y, x = np.meshgrid(np.arange(32) * 2.0, np.arange(64.0), np.arange(64.0), indexing="ij")
    label = np.zeros((32, 64, 64), np.uint16)
    for i, (cz, cy, cx) in enumerate(np.ndindex(2, 2, 3), 1):
        radius = rng.uniform(8, 9)
        distance = (z - 16 - 31 * cz) ** 2 + (y - 16 - 32 * cy) ** 2 + (x - 11 - 20 * cx) ** 2
        label[(distance < radius**2) & (label == 0)] = i
    return label


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> Callable[..., ConfigWorkflow]:
    """Run an id of configs of the bundle, and the tiny overlay, in this process; keywords override."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(run_id: str, *names: str, **overrides: Any) -> ConfigWorkflow:
        files = [str(CONFIGS / f"{name}.yaml") for name in names] + [str(tiny)]
        given = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
        given.setdefault("bundle_root", str(CONFIGS.parent))
        workflow = ConfigWorkflow(config_file=files, run_id=run_id, logging_file=False, **given)
        workflow.initialize()
        workflow.run()
        return workflow

    return run


@pytest.fixture(scope="session")
def torchrun() -> Callable[..., str]:
    """Run a command in two processes; return all that they printed. They are ended if they take too long."""

    def run(*arguments: str | Path, cwd: Path, timeout: float = 180.0, expected: int = 0) -> str:
        with started_by_torchrun(arguments, cwd) as launcher:
            try:
                said = launcher.communicate(timeout=timeout)[0]
            except subprocess.TimeoutExpired:
                end(launcher)
                pytest.fail(f"not finished after {timeout:.0f} s: {launcher.communicate()[0][-3000:]}")
        assert launcher.returncode == expected, said[-5000:]
        return said

    return run


def started_by_torchrun(arguments: Sequence[str | Path], cwd: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        *map(str, arguments),
    ]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def end(launcher: subprocess.Popen[str]) -> None:
    """Kill a launcher and its processes, which are in sessions of their own."""
    for process in [*psutil.Process(launcher.pid).children(recursive=True), psutil.Process(launcher.pid)]:
        process.kill()


def assert_change_is_rejected(path: Path, out: Path, again: Callable[[], Any]) -> None:
    """A file that a finished run has read changes: the same command names it and leaves the folder of the run."""
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    if path.suffix == ".yaml":
        path.write_text(path.read_text() + "# another\n")
    else:
        os.utime(path, (1, 1))
    with pytest.raises(InputError, match=rf"(?s){path.name}.*another output_dir, or remove that folder"):
        again()
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
