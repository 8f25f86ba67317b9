"""How every command begins and ends: flags read by their annotations, and one line for an error that a user can mend.

Only the standard library is imported here, so that a missing package can still be reported in one line.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from scripts.command.worker import (
    SHARED_MEMORY_FULL,
    bad_input_in,
    defect_in_worker,
    end_with_starter,
    said_by_worker,
    shared_memory_is_full,
)

__all__ = ["expected_error", "plain_errors", "start"]

INTERRUPTED, CLOSED_PIPE = 130, 141
"""Exit status after Ctrl-C, and where the reader of the output is gone: 128 and the number of the signal."""

# By name: MONAI Label imports `scripts` again, so that one class may exist twice.
_EXPECTED = ("InputError", "NonFiniteLossError")
_ADVICE = {
    errno.ENOSPC: "Free some space, or choose another place.",
    errno.EDQUOT: "Free some space, or choose another place.",
    errno.EACCES: "Choose a place that you may read and write.",
    errno.EPERM: "Choose a place that you may read and write.",
    errno.EROFS: "Choose a place that can be written.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit (ulimit -n), or name fewer files at once.",
}


def start(main: Callable[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Run a command with the flags that were typed, and end the process with its exit status.

    Bad input ends with one line and status 1, an unfinished run with its line and status 75, Ctrl-C with 130, a closed
    pipe without a word with 141. Any other exception is a defect and keeps its traceback.

    Args:
        main: the command. Its parameters are the flags, and their annotations say how each is read.
        arguments: what was typed; by default that of this process.
    """
    end_with_starter()
    name = str(getattr(sys.modules["__main__"].__spec__, "name", main.__module__)).removesuffix(".__main__")
    try:
        from scripts.command.argument import bound

        typed = list(sys.argv[1:] if arguments is None else arguments)
        if _asks_for_help(typed):
            import fire

            fire.Fire(main, command=["--", "--help"], name=name)  # behind --: no flag of a command that takes any
        given = bound(main, typed, name)
        main(*given.args, **given.kwargs)
        sys.stdout.flush()
    except BaseException as error:
        sys.exit(_end(error))


def plain_errors() -> None:
    """Let bad input end a command of MONAI as it ends ours: with one line, not with a chain of tracebacks.

    Only what nobody catches is affected: a program that calls the bundle gets the exceptions as they are.
    """
    end_with_starter()
    sys.excepthook = _tell
    logging.raiseExceptions = False  # a full disk under the log would give a traceback for every line of it


def expected_error(error: BaseException | None) -> BaseException | None:
    """Return the error of ours that `error` is or was caused by, None where it is another's."""
    while error is not None and type(error).__name__ not in _EXPECTED:
        error = error.__cause__ or error.__context__
    return error


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if (found := _ending(error)) is None:
        sys.__excepthook__(kind, error, traceback)
    elif found[0]:
        print(found[0], file=sys.stderr)


def _end(error: BaseException) -> int | str:
    """What `sys.exit` takes: the line of an error, which it prints, or a status other than 1; raise a defect."""
    if isinstance(error, SystemExit) or (found := _ending(error)) is None:
        raise error
    message, status = found
    if status == 1:
        return message
    if message:
        print(message, file=sys.stderr)
    return status


def _ending(error: BaseException) -> tuple[str, int] | None:
    """The line and the exit status of an error that is no defect."""
    for cause in _causes(error):
        if (message := said_by_worker(cause)) is not None:
            return f"error: {message}", 1
    if (expected := expected_error(error)) is not None:
        return f"error: {expected}", 1
    for cause in _causes(error):
        if (message := _said_by_monai(cause)) is not None:
            return f"error: {message}", 1
        if type(cause).__name__ == "UnfinishedError":
            return f"{cause} Give the same command again when they are done.", 75
        if type(cause).__name__ == "StoppedError":
            return str(cause), 75
        if isinstance(cause, KeyboardInterrupt):
            return "stopped at once; what was written before is whole", INTERRUPTED
        if isinstance(cause, BrokenPipeError):
            _close_pipe()
            return "", CLOSED_PIPE
        if (message := _of_the_machine(cause)) is not None:
            return f"error: {message}", 1
    for cause in _causes(error):
        if type(cause).__name__ == "_RemoteTraceback":  # as concurrent.futures hands it over
            return f"error: {defect_in_worker(str(cause))}", 1
    return None


def _causes(error: BaseException | None) -> list[BaseException]:
    """An error and what it was raised from. What it happened to follow is left out: that was handled."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


def _said_by_monai(error: BaseException) -> str | None:
    """The message of bad input that MONAI's LoadImage or SaveImage met: they keep its traceback as text alone."""
    return bad_input_in(str(error)) if "cannot find a suitable" in str(error) else None


def _of_the_machine(error: BaseException) -> str | None:
    """What memory, the file system and the installed packages do not give, in a line."""
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and not (error.name or "scripts").startswith("scripts"):
        return (
            f"this Python ({sys.executable}) lacks the package {error.name}. `make install` in the project's folder "
            "makes an environment: start with its .venv/bin/python. Or: pip install -r requirements.txt"
        )
    if isinstance(error, MemoryError) or _is_full(error, text):
        return f"not enough memory: {text or 'none left'}. Take a smaller part, patch, window or block."
    if shared_memory_is_full(error):
        return SHARED_MEMORY_FULL
    if isinstance(error, RuntimeError) and ("gloo" in text or type(error).__name__.startswith("Dist")):
        return _of_another_process(text)
    if isinstance(error, OSError):
        place = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        reason = error.strerror or text or type(error).__name__
        return f"{place or 'input or output'}: {reason}. {_ADVICE.get(error.errno or 0, '')}".rstrip()
    return None


def _of_another_process(text: str) -> str:
    """What gloo and NCCL say, without the place in their code."""
    first = text.partition(". ")[0]
    reason = first.rpartition(".cc:")[2].partition("] ")[2] or first
    return (
        f"another process of this run has ended or does not answer ({reason}). Its own line says why. Checkpoints are "
        "whole: give the same command again, a training with --resume true."
    )


def _is_full(error: BaseException, text: str) -> bool:
    """Whether PyTorch found no memory, of a GPU or of the machine."""
    is_torch = type(error).__name__ == "OutOfMemoryError"
    return is_torch or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in text)


def _close_pipe() -> None:
    """Keep Python from writing once more, at its end, into a pipe that nobody reads."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _asks_for_help(typed: Sequence[str]) -> bool:
    return "--help" in typed or list(typed) == ["-h"]
