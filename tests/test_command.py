"""MONAI's commands started from Python."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from scripts.command.bundle import BUNDLE, _status, as_read, run_bundle
from scripts.command.start import start
from scripts.errors import UNFINISHED, InputError, StoppedError


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_and_the_command_ends_first(
    number: signal.Signals, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # a shell ignores Ctrl-C for what runs in its background
    request.addfinalizer(partial(signal.signal, number, signal.getsignal(number)))
    signal.signal(number, signal.default_int_handler)
    ready, written = tmp_path / "ready", tmp_path / "checkpoint"
    code = f"""
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.3)
    pathlib.Path({str(written)!r}).touch()
    sys.exit({UNFINISHED})
signal.signal(signal.SIGTERM, stop)
pathlib.Path({str(ready)!r}).touch()
time.sleep(60)
"""

    def send() -> None:
        while not ready.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(StoppedError, match=rf"stopped by {number.name}; .* status {UNFINISHED}") as raised:
        _status([sys.executable, "-c", code], os.environ)
    sender.join()
    assert written.exists() and signal.getsignal(number) is before

    def stopped() -> None:
        raise raised.value

    with pytest.raises(SystemExit) as ended:
        start(stopped, [])
    assert ended.value.code == UNFINISHED


def test_a_command_that_was_stopped_by_itself_is_not_a_failure() -> None:
    with pytest.raises(StoppedError, match="stopped; "):
        _status([sys.executable, "-c", f"raise SystemExit({UNFINISHED})"], os.environ)
    assert _status([sys.executable, "-c", "raise SystemExit(3)"], os.environ) == 3
