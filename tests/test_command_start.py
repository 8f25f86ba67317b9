"""How commands begin and end: all through `start`, and what a user can mend is one line."""

from __future__ import annotations

import errno
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from monai.transforms import SaveImage
from scripts.blockwise.run import UnfinishedError
from scripts.command import start as module
from scripts.command.start import start
from scripts.errors import InputError
from scripts.volume_io import VolumeWriter

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
COMMANDS = sorted(
    ".".join(path.relative_to(BUNDLE).with_suffix("").parts)
    for path in (BUNDLE / "scripts").rglob("*.py")
    if "\nif __name__ ==" in path.read_text()
)
Said = pytest.CaptureFixture[str]


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[[], None]:
    def main() -> None:
        raise error from cause

    return main


def test_all_commands_are_found() -> None:
    assert {"scripts.classical", "scripts.check.__main__", "scripts.report.html"} <= set(COMMANDS)
    assert len(COMMANDS) >= 14


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_starts_in_the_same_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Callable[..., None]] = []
    monkeypatch.setattr(module, "start", started.append)
    runpy.run_module(name, run_name="__main__")
    [main] = started
    assert get_type_hints(main)
    source = BUNDLE.joinpath(*name.split(".")).with_suffix(".py").read_text()
    assert not re.search(r"fire\.Fire|sys\.exit", source.partition("\nif __name__ ==")[2])


def test_a_command_that_ends_well_returns(capsys: Said) -> None:
    start(lambda: print("done"), [])
    assert capsys.readouterr().out == "done\n"


@pytest.mark.parametrize(
    ("error", "cause", "status", "words"),
    [
        (InputError("x.tif: found 2 axes"), None, 1, "error: x.tif: found 2 axes"),
        (RuntimeError("applying transform"), InputError("x.tif: empty"), 1, "error: x.tif: empty"),
        (UnfinishedError("label: 3 blocks are left."), None, 75, "label: 3 blocks are left. Give the same command"),
        (KeyboardInterrupt(), None, 130, "stopped at once"),
        (MemoryError("Unable to allocate 9 TiB"), None, 1, "error: not enough memory: Unable to allocate 9 TiB"),
        (torch.OutOfMemoryError("CUDA out of memory"), None, 1, "error: not enough memory: CUDA"),
        (
            RuntimeError("[/p/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1. This is"),
            None,
            1,
            "error: another process of this run has ended or does not answer (Connection closed by peer [127.",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.h5"),
            None,
            1,
            "a.h5: No space left on device. Free",
        ),
        (
            RuntimeError("step 3"),
            OSError(errno.EACCES, "Permission denied", "a.h5"),
            1,
            "a.h5: Permission denied.",
        ),
        (OSError("truncated"), None, 1, "error: input or output: truncated."),
        (ModuleNotFoundError("No module named 'edt'", name="edt"), None, 1, "lacks the package edt. `make install`"),
    ],
)
def test_what_a_user_can_mend_ends_in_one_line(
    error: BaseException, cause: BaseException | None, status: int, words: str, capsys: Said
) -> None:
    with pytest.raises(SystemExit) as ended:
        start(raising(error, cause), [])
    said = str(ended.value.code) if status == 1 else capsys.readouterr().err.rstrip("\n")
    assert status == 1 or ended.value.code == status
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("error", [KeyError("x"), ModuleNotFoundError("no", name="scripts.gone"), SystemExit(7)])
def test_a_defect_keeps_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        start(raising(error), [])
    assert raised.value is error


@pytest.mark.parametrize("needed", [True, False])
def test_help_explains_the_flags(needed: bool, capsys: Said) -> None:
    def main(out: str) -> None:
        """Write.

        Args:
            out: where.
        """

    def takes_any(out: str = "here", **overrides: Any) -> None:
        raise AssertionError(f"run with {overrides}")

    takes_any.__doc__ = main.__doc__
    with pytest.raises(SystemExit) as ended:
        start(main if needed else takes_any, ["--help"])
    assert ended.value.code == 0
    assert "where." in capsys.readouterr().err


def test_bad_input_that_monais_writer_met_is_one_line(tmp_path: Path) -> None:
    """SaveImage keeps the traceback of the writer's error as text alone."""
    save = SaveImage(tmp_path, output_ext=".nii.gz", writer=VolumeWriter, channel_dim=None, separate_folder=False)
    with pytest.raises(RuntimeError) as raised:
        save(torch.zeros(2, 3, 4, 5, 6))
    assert "Traceback" in str(raised.value)
    with pytest.raises(SystemExit) as ended:
        start(raising(raised.value), [])
    assert re.fullmatch(r"error: .*shape \(2, 3, 4, 5, 6\).*", str(ended.value.code))


def test_missing_packages_a_closed_pipe_and_ctrl_c_leave_no_traceback() -> None:
    bare = [sys.executable, "-S", "-m", "scripts.watershed", "--pred", "x.h5"]
    found = subprocess.run(bare, cwd=BUNDLE, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.count("\n")) == (1, 1), found.stderr
    assert "lacks the package" in found.stderr

    talk = "from scripts.command.start import start; start(lambda: [print('x' * 999) for _ in range(9999)], [])"
    process = subprocess.Popen([sys.executable, "-c", talk], cwd=BUNDLE, stdout=-1, stderr=-1)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 141)

    wait = "import os, signal; from scripts.command.start import start; "
    wait += "start(lambda: os.kill(os.getpid(), signal.SIGINT), [])"
    wait = (
        f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {wait}"  # a shell's `&` ignores it
    )
    found = subprocess.run([sys.executable, "-c", wait], cwd=BUNDLE, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.count("\n")) == (130, 1), found.stderr
