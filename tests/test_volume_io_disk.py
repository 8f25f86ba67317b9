"""Volumes written to a disk that is full."""

from __future__ import annotations

import errno
import io
import os
import platform
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from scripts.errors import InputError
from scripts.volume_io import read_volume, replacement, write_volume
from scripts.volume_io.hdf5_sink import Sink
from scripts.volume_io.replacement import write_npz

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
FORMATS = ["a.h5", "a.h5::deep/raw", "a.tif", "a.ome.tif", "a.nii", "a.nii.gz", "a.zarr", "a.ome.zarr"]
WRITE = """
import sys
import numpy as np
from scripts.errors import InputError
from scripts.volume_io import write_volume
noise = np.random.default_rng(0).integers(0, 255, (24, 128, 128)).astype(np.uint8)
try:
    write_volume(sys.argv[1], noise)
except InputError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 300 kB."""
    disk = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_ends_in_one_line_and_leaves_what_was_there(small_disk: Path, name: str) -> None:
    small = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    write_volume(small_disk / name, small)
    before = sorted(os.listdir(small_disk))
    run = subprocess.run(
        [sys.executable, "-c", WRITE, str(small_disk / name)], cwd=BUNDLE, capture_output=True, text=True
    )
    file = str(small_disk / name).partition("::")[0]
    assert run.returncode == 1, run.stderr
    assert len(run.stderr.splitlines()) == 1 and run.stderr.startswith(f"error: {file}") and "space" in run.stderr
    np.testing.assert_array_equal(read_volume(small_disk / name)[0], small)
    assert sorted(os.listdir(small_disk)) == before


@pytest.mark.parametrize("room", range(0, 120_000, 7_000))
def test_hdf5_survives_a_disk_that_is_full_at_any_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    class Full(io.FileIO):
        def write(self, data: object) -> int:
            rest = memoryview(data)[: max(0, room - self.tell())]  # type: ignore[arg-type]
            if not rest:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(rest)

    (tmp_path / "a.h5").write_bytes(b"earlier")
    monkeypatch.setattr(Path, "open", lambda self, *_, **__: Full(self, "w+"))
    with pytest.raises(InputError, match=r"a\.h5 cannot be written: .*No space left"):
        write_volume(tmp_path / "a.h5", np.random.default_rng(0).integers(0, 255, (9, 128, 128)).astype(np.uint8))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == b"earlier"


def test_what_the_disk_did_not_take_is_read_back(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "a")
    sink.write(memoryview(b"0123456789"))
    sink._error = OSError("full")
    sink.seek(8)
    sink.write(memoryview(b"abcd"))
    sink.seek(9)
    sink.write(memoryview(b"x"))
    sink.seek(6)
    assert sink.read(8) == b"67axcd\0\0"
    with pytest.raises(OSError, match="full"):
        sink.sync()
    sink.close()


def test_files_are_flushed_as_windows_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl, flush, flushed = pytest.importorskip("fcntl"), os.fsync, list[int]()

    def fsync(descriptor: int) -> None:
        """Windows flushes no file that was opened to be read, and no folder."""
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(descriptor)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_npz(tmp_path / "a.npz", {"a": np.arange(3)})
    assert flushed and np.load(tmp_path / "a.npz")["a"].tolist() == [0, 1, 2]


def test_long_names_are_written_on_machines_of_long_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "node-17." + "cluster" * 8)
    path = tmp_path / f"{'a' * 216}.txt"
    runpy.run_path(replacement.__file__)["write_text"](path, "text")
    assert path.read_text() == "text"


def test_hdf5_through_the_sink_is_that_of_h5py(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (40, 70, 80)).astype(np.uint16)
    write_volume(f"{tmp_path / 'a.h5'}::deep/raw", array, (3, 2, 1))
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["deep/raw"][()], array)
        assert file["deep/raw"].attrs["element_size_um"].tolist() == [3, 2, 1]
        assert file["deep/raw"].id.get_num_chunks() == 2
