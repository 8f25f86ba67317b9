"""MONAI's bundle commands, started as a user would type them."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from fire.parser import DefaultParseValue
from scripts.command.argument import PATHS
from scripts.command.worker import STARTED
from scripts.errors import UNFINISHED, InputError, StoppedError

__all__ = [
    "BUNDLE",
    "as_read",
    "bundle_version",
    "bundle_words",
    "listed",
    "parser_at_work",
    "run_bundle",
    "run_words",
]

BUNDLE = Path(__file__).resolve().parents[2]
"""The folder of this bundle."""


def bundle_version() -> str:
    """Return the version of this bundle."""
    return str(json.loads((BUNDLE / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"])


def bundle_words(run_id: str, configs: Sequence[str | Path], overrides: Mapping[str, Any]) -> list[str]:
    """Return what follows `python` where MONAI's command is typed in the bundle's folder.

    Args:
        run_id: training, evaluating, run, ...
        configs: files, or names in `configs/` without extension; the base first.
        overrides: keys and values.
    """
    files = [f"configs/{config}.yaml" if _is_name(config) else str(config) for config in configs]
    words = ["-m", "monai.bundle", "run", run_id, "--config_file", str(files)]
    return [*words, *(word for key, value in overrides.items() for word in (f"--{key}", _typed(key, value)))]


def run_words(words: Sequence[str], folder: Path | None = BUNDLE) -> None:
    """Run Python with words as one would type them, progress bars on this terminal.

    SIGTERM and Ctrl-C are for the command: a training writes its checkpoint. This process waits for it. Where this
    process is killed, the command ends at once.

    Args:
        words: what follows `python`.
        folder: where it runs; None for this process's own.

    Raises:
        InputError: it failed; its own message is above.
        StoppedError: it stopped as it was asked to.
    """
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", STARTED: "1"}
    if _status([sys.executable, *words], environment, folder):
        raise InputError(f"the command failed, its message is above: {shlex.join(['python', *words])}")


def run_bundle(run_id: str, configs: Sequence[str | Path], overrides: Mapping[str, Any]) -> None:
    """Run a command of this bundle in the folder where this process is, see `bundle_words` and `run_words`.

    Raises:
        InputError: it failed; its own message is above.
        StoppedError: it stopped as it was asked to.
    """
    files = [BUNDLE / "configs" / f"{config}.yaml" if _is_name(config) else config for config in configs]
    run_words(bundle_words(run_id, files, {"bundle_root": BUNDLE, **overrides}), folder=None)


def _status(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> int:
    """The exit status of a command, once it has ended; SIGTERM and Ctrl-C meanwhile are for it.

    Both are handed on as SIGTERM: a terminal gives Ctrl-C to the command, too, and a second one would stop a training
    before its checkpoint is written. Signals come to the main thread alone; elsewhere they are left as they are.

    Raises:
        StoppedError: such a signal came, or the command stopped at one.
    """
    process: subprocess.Popen[bytes] | None = None
    asked: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if process is not None:
            process.terminate()

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    heard = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, hand_on) for number in heard}
    try:
        # Its standard input ends with this process, see `end_with_starter`.
        process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.PIPE)
        if asked:  # before it had begun
            process.terminate()
        status = process.wait()
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked or status == UNFINISHED:
        by = f" by {signal.Signals(asked[0]).name}" if asked else ""
        raise StoppedError(
            f"stopped{by}; the command that ran has ended with status {status}, and files are whole. Given again, "
            "the command resumes where it was."
        )
    return status


def as_read(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's command line makes of overrides that `run_bundle` hands it: the text "[8, 16]" is a list."""
    return {key: DefaultParseValue(_typed(key, value)) for key, value in overrides.items()}


def _typed(key: str, value: Any) -> str:
    """An override as it is typed: a path that MONAI would take for a number or an expression gets quotes."""
    text = str(value)
    is_name = key in PATHS and isinstance(value, str | os.PathLike)
    return repr(text) if is_name and DefaultParseValue(text) != text and not text.startswith("[") else text


def parser_at_work() -> Any:
    """Return MONAI's parser of the configuration that is being turned into objects; None where none is at work.

    MONAI gives an object no way to refer to the whole that it is part of. But the parser is at work while it makes the
    object, and so is among the callers. By name: MONAI Label may have loaded its class twice.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if type(parser).__name__ == "ConfigParser":
            return parser
        frame = frame.f_back
    return None


def listed(value: Any) -> list[str]:
    """Return the items of a list, or of a text with commas, in brackets or not."""
    items = (
        value.strip("[]() ").split(",") if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    )
    return [str(item).strip(" '\"") for item in items if str(item).strip()]


def _is_name(config: str | Path) -> bool:
    return isinstance(config, str) and (BUNDLE / "configs" / f"{config}.yaml").is_file()
