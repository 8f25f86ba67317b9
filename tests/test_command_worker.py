"""Workers of a data loader that fail, are killed or find no room: one line says so, and none is left behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts.command.start import plain_errors
from scripts.command.worker import SHARED_MEMORY_FULL, WorkerStart, said_by_worker, shared_memory_is_full
from scripts.dataset.loader import TrainingLoader
from scripts.errors import InputError
from torch.utils.data import DataLoader, Dataset

Run = Callable[..., Any]


class Items(Dataset):
    """What `make` gives, in a worker."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class NoRoom(str):
    """Cannot be handed over: pickling it fails as PyTorch does when /dev/shm is full."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("unable to write to file </torch_12_345_6>: No space left on device (28)")


class NoPickle(NoRoom):
    """Cannot be handed over for another reason."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("cannot pickle this")


def bad_input(index: int) -> Any:
    raise InputError("volume.tif: found nothing, expected a volume. Name another.")


def bad_input_in_a_transform(index: int) -> Any:
    """As MONAI raises it."""
    try:
        return bad_input(index)
    except InputError as error:
        raise RuntimeError("applying transform <a transform>") from error


def defect_in_a_transform(index: int) -> Any:
    try:
        return 1 // 0
    except ZeroDivisionError as error:
        raise RuntimeError("applying transform <a transform>") from error


def no_shared_memory(index: int) -> Any:
    raise RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)")


def killed(index: int) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def bus_error(index: int) -> Any:
    os.kill(os.getpid(), signal.SIGBUS)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (bad_input, "volume.tif: found nothing, expected a volume. Name another."),
        (bad_input_in_a_transform, "volume.tif: found nothing, expected a volume. Name another."),
        (defect_in_a_transform, "ZeroDivisionError: "),
        (no_shared_memory, SHARED_MEMORY_FULL),
        (NoRoom, SHARED_MEMORY_FULL),
        (bus_error, SHARED_MEMORY_FULL),
        (NoPickle, "ended unexpectedly"),
        (killed, "was killed (Killed); memory may have run out"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_worker_that_fails_is_told_in_one_line_and_none_is_left(make: Callable[[int], Any], expected: str) -> None:
    loader = TrainingLoader(Items(make), num_workers=2, generator=torch.Generator())
    with pytest.raises(Exception, match="DataLoader worker") as raised:
        list(loader)
    message = said_by_worker(raised.value) or ""
    assert expected in message
    assert "\n" not in message
    loader.end()
    assert multiprocessing.active_children() == []


def test_the_traceback_of_a_defect_is_in_the_file_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loader = TrainingLoader(Items(defect_in_a_transform), num_workers=1)
    with pytest.raises(RuntimeError) as raised:
        list(loader)
    loader.end()
    message = said_by_worker(raised.value) or ""
    assert message.startswith(
        "ZeroDivisionError: integer division or modulo by zero, in a data-loader worker. Details:"
    )
    assert "defect_in_a_transform" in Path(message.rpartition("Details: ")[2]).read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert "Give --num_workers 0" in (said_by_worker(raised.value) or "")


def test_a_loader_that_nothing_else_ends_says_that_there_is_no_room_and_ends_by_sigterm() -> None:
    """As that of inference: the feeder's error would have it wait for ever."""
    options: dict[str, Any] = {"num_workers": 1, "worker_init_fn": WorkerStart(ends_by_sigterm=True)}
    with pytest.raises(RuntimeError, match="DataLoader worker") as raised:
        list(DataLoader(Items(NoRoom), **options))
    assert said_by_worker(raised.value) == SHARED_MEMORY_FULL
    passing = iter(DataLoader(Items(lambda index: signal.pause() if index else index), **options))
    next(passing)
    [worker] = multiprocessing.active_children()
    worker.terminate()
    worker.join(timeout=30)
    assert worker.exitcode is not None


def test_other_errors_are_none_of_a_worker() -> None:
    assert said_by_worker(RuntimeError("no worker in it")) is None
    assert not shared_memory_is_full(OSError(errno.ENOSPC, "No space left on device", "/data/a.tif"))
    assert not shared_memory_is_full(OSError(errno.EACCES, "Permission denied"))


def test_a_training_whose_worker_fails_ends_with_one_line_and_no_worker(
    run_here: Run, volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that was left would keep Python waiting for it at its end."""
    files = {
        "image_x": volumes / "imageX_0.tif",
        "label_x": volumes / "labelX_0.tif",
        "image_y": volumes / "imageY.tif",
    }
    small = {"sample_size": [8, 32, 32], "augmentation::missing_section": 1.0, "num_workers": 2}
    with pytest.raises(RuntimeError) as raised:
        run_here("training", "train", **files, **small, output_dir=tmp_path, model_path=tmp_path / "model.pt")
    assert multiprocessing.active_children() == []
    plain_errors()
    capsys.readouterr()
    sys.excepthook(raised.type, raised.value, raised.tb)
    said = capsys.readouterr().err
    assert said.startswith("error: patches have shape")
    assert said.count("\n") == 1
