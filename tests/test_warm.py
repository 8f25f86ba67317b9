"""Commands that find MONAI imported behave as those in a new Python do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from warm import cold

SAYS = """
import atexit, os, sys, threading
atexit.register(print, "end")
print(sys.argv, os.getcwd(), os.environ["GIVEN"], sys.path[0], [name for name in sys.modules if name[:7] == "scripts"])
threading.Thread(target=lambda: print("thread", sys.stdin.read())).start()
"""
ENDS = ["raise SystemExit(3)", "raise SystemExit('no')", "1 / 0", "import os; os.kill(os.getpid(), 9)"]
ENDS += ["import signal; signal.signal(2, signal.default_int_handler); signal.raise_signal(2)"]


@pytest.mark.parametrize("start", [nullcontext, cold])
def test_a_command_has_its_arguments_folder_environment_and_streams(
    start: type[AbstractContextManager[None]], tmp_path: Path
) -> None:
    command, environment = [sys.executable, "-c", SAYS, "a", "b"], {**os.environ, "GIVEN": "g"}
    with start():
        done = subprocess.run(command, cwd=tmp_path, env=environment, input="in", capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"['-c', 'a', 'b'] {tmp_path} g  []", "thread in", "end"]
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("start", [nullcontext, cold])
def test_a_command_ends_with_its_status(start: type[AbstractContextManager[None]]) -> None:
    with start():
        done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for code in ENDS]
    assert [ended.returncode for ended in done] == [3, 1, 1, -signal.SIGKILL, -signal.SIGINT]
    assert [ended.stderr.splitlines()[-1:] for ended in done[:3]] == [
        [],
        ["no"],
        ["ZeroDivisionError: division by zero"],
    ]


@pytest.mark.parametrize("start", [nullcontext, cold])
def test_a_command_is_stopped_with_its_group(start: type[AbstractContextManager[None]]) -> None:
    with start():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"], start_new_session=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
