"""Two trainings into one place: the second is refused; a killed one's lock does not hold."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts.checkpoint import save_atomically
from scripts.command.lock import Lock
from scripts.compare import compare
from scripts.compare.demo import demo
from scripts.errors import InputError
from scripts.handlers import RunLock

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"


def holder(path: Path) -> subprocess.Popen[str]:
    code = "import sys; from scripts.command.lock import Lock; "
    code += f"l = Lock({str(path)!r}, 'x')\nl.take(); print('has', flush=True)"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", f"{code}; sys.stdin.read()"], cwd=BUNDLE, **pipes)
    assert process.stdout is not None and process.stdout.readline() == "has\n"
    return process


@pytest.mark.parametrize("name", ["out/.training.lock", "models/.model.pt.lock"])
def test_a_second_training_is_refused_before_any_work_and_names_the_first(
    name: str, run_here: Callable[..., Any], volumes: Path, tmp_path: Path
) -> None:
    files = {
        "image_x": volumes / "imageX_0.tif",
        "label_x": volumes / "labelX_0.tif",
        "image_y": volumes / "imageY.tif",
    }
    places = {"output_dir": tmp_path / "out", "model_path": tmp_path / "models" / "model.pt"}
    first = holder(tmp_path / name)
    with pytest.raises(RuntimeError) as raised:
        run_here("training", "train", **files, **places)
    assert f"another run works on this output (process {first.pid} on " in str(raised.value.__cause__)
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.csv"))
    first.kill()
    first.communicate()
    lock = RunLock(str(places["output_dir"]), str(places["model_path"]))
    lock.take()
    with pytest.raises(InputError, match="another run works"):
        Lock(tmp_path / name, "x").take()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_locks_is_a_warning_and_nothing_stays_locked(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    Lock(tmp_path / "a.lock", "out").take()  # by a process that is killed
    with Lock(tmp_path / "a.lock", "out"):
        assert [message.partition(";")[0] for message in caplog.messages] == ["out: this file system has no locks"] * 2


@pytest.mark.parametrize(("command", "name"), [(demo, ".demo.lock"), (compare, ".compare.lock")])
def test_a_second_demo_or_comparison_in_one_folder_is_refused(
    command: Callable[..., None], name: str, volumes: Path, tmp_path: Path
) -> None:
    files = {"image_x": "imageX_0.tif", "label_x": "labelX_0.tif", "image_y": "imageY.tif"}
    given = {key: str(volumes / file) for key, file in files.items()} if command is compare else {}
    with Lock(tmp_path / name, "x"), pytest.raises(InputError, match=rf"another run works.*process {os.getpid()} "):
        command(output_dir=str(tmp_path), **given)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_writers_of_one_file_have_temporary_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("os.replace", lambda source, target: seen.append(Path(source).name))
    for _ in range(2):
        save_atomically({}, tmp_path / "a.pt")
    assert len(set(seen)) == 2
