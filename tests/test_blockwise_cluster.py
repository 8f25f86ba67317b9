"""A Dask cluster as Dask's own commands start it: in folders that have nothing to do with the bundle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.blockwise import cluster
from scripts.blockwise.schedule import Schedule
from scripts.blockwise.volume import label_volume
from scripts.errors import InputError
from scripts.volume_io import create_zarr, open_volume
from scripts.watershed import BCDWatershed, bcd_watershed

from test_watershed import noisy_maps

distributed = pytest.importorskip("distributed")
shipment = pytest.importorskip("scripts.blockwise.shipment")
SHAPE = (16, 48, 48)
DASK = ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and two workers, one of them without a nanny, whose folder holds another package `scripts`."""
    folder = tmp_path_factory.mktemp("unrelated")
    write_package(folder, "of somebody else")
    where, file = ["--host", "127.0.0.1"], ["--scheduler-file", str(folder / "scheduler.json")]
    lines = [
        [DASK[0], "--port", "0", "--no-dashboard", *where, *file],
        [DASK[1], "--nthreads", "1", "--no-dashboard", *where, *file],
        [DASK[1], "--nthreads", "1", "--no-dashboard", "--no-nanny", *where, *file],
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    with open(folder / "log", "w") as log:
        started = [
            subprocess.Popen([sys.executable, "-m", *line], cwd=folder, env=environment, stdout=log, stderr=log)
            for line in lines
        ]
        try:
            with distributed.Client(scheduler_file=str(folder / "scheduler.json"), timeout=60) as client:
                client.wait_for_workers(2, timeout=60)
                yield client.scheduler.address
        finally:
            for process in reversed(started):
                process.send_signal(signal.SIGTERM)
            for process in started:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                process.kill()


def write_package(folder: Path, version: str) -> Path:
    """Write a package `scripts` with one module."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "version.py").write_text(f"VERSION = {version!r}\n")
    return folder / "scripts"


def run(address: str, work: Any, blocks: int) -> None:
    schedule = Schedule(scheduler=address)
    with schedule.running():
        schedule.run("test", work, range(blocks), lambda block: 1)


def test_workers_use_the_code_of_the_command_not_what_they_have_or_had(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(block: int) -> None:
        from scripts.version import VERSION  # type: ignore[import-not-found]

        time.sleep(0.2)  # so that both workers take some
        (tmp_path / f"{os.getpid()}_{VERSION}").touch()

    for version in ("1", "2", "1"):
        monkeypatch.setattr(cluster, "PACKAGE", write_package(tmp_path / f"{version}_{time.time_ns()}", version))
        run(address, work, 8)
        found = [file.name.split("_")[1] for file in tmp_path.iterdir() if file.is_file()]
        assert found == [version] * 2
        for file in tmp_path.iterdir():
            if file.is_file():
                file.unlink()


def test_a_cluster_started_anywhere_gives_the_labels_of_the_whole(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative names are of the command's folder, not the worker's."""
    monkeypatch.chdir(tmp_path)
    maps = noisy_maps(0, SHAPE)
    names = ("foreground", "contour", "distance")
    create_zarr("maps.zarr", maps.shape, maps.dtype, (1, 16, 24, 24), (2.0, 1.0, 1.0), names)[:] = maps
    label_volume(
        "maps.zarr",
        "out.ome.zarr",
        BCDWatershed(min_instance_size=20),
        block=(16, 24, 24),
        halo=(2, 4, 4),
        schedule=Schedule(scheduler=address),
    )
    np.testing.assert_array_equal(open_volume("out.ome.zarr")[:], bcd_watershed(maps, min_instance_size=20))


def test_a_killed_worker_loses_its_block_and_its_successor_has_the_code(address: str, tmp_path: Path) -> None:
    def work(block: int) -> None:
        import scripts.errors
        from distributed import get_worker

        if get_worker().nanny and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if get_worker().nanny:
            (tmp_path / "revived").write_text(scripts.errors.__name__)
        deadline = time.monotonic() + 60
        while not (tmp_path / "revived").exists() and time.monotonic() < deadline:
            time.sleep(0.05)  # leave a block for the new worker
        (tmp_path / f"done_{block}").touch()

    run(address, work, 12)
    assert len(list(tmp_path.glob("done_*"))) == 12
    assert {"killed", "revived"} < {file.name for file in tmp_path.iterdir()}


def test_what_a_worker_cannot_do_is_one_line_with_its_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(block: int) -> None:
        raise InputError("no such file: x.zarr")

    def unknown(block: int) -> None:
        import nothing_of_this_name  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(InputError, match=r"^worker tcp://.*: no such file: x\.zarr$"):
        run(address, missing, 1)
    with pytest.raises(InputError, match=r"No module named 'nothing_of_this_name'.* need the environment"):
        run(address, unknown, 1)
    monkeypatch.setattr(cluster.platform, "python_version_tuple", lambda: ("3", "2", "0"))
    with pytest.raises(InputError, match=r"worker tcp://.* has Python 3\.\d+.*, this command 3\.2"):
        run(address, missing, 1)
    monkeypatch.undo()
    monkeypatch.setattr(shipment, "zipped", lambda package: b"no zip")
    with pytest.raises(InputError, match="cannot take the bundle's code: File is not a zip file"):
        run(address, missing, 1)


def test_the_same_files_have_the_same_name(tmp_path: Path) -> None:
    one, two = (write_package(tmp_path / name, "1") for name in "ab")
    (two / "__pycache__").mkdir()
    (two / "__pycache__" / "version.pyc").touch()
    assert shipment.zipped(one) == shipment.zipped(two)
    (two / "version.py").write_text("VERSION = 2\n")
    assert shipment.zipped(one) != shipment.zipped(two)


def test_other_versions_of_packages_are_named() -> None:
    own = {"numpy": "2.4.6", "torch": "2.13.0"}
    assert cluster.difference(own, dict(own)) == ""
    assert cluster.difference(own, {**own, "numpy": "none"}) == "numpy none (here 2.4.6)"
