"""The one error class for bad input: files, arrays, configuration values; and the status of what is to be continued."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

__all__ = ["UNFINISHED", "InputError", "StoppedError", "brief", "unwritable"]

UNFINISHED = 75
"""Exit status of a command that has not finished and goes on when it is given again (EX_TEMPFAIL)."""


class InputError(ValueError):
    """Input that cannot be worked on.

    The message names the file or value, what was found, what was expected and what to do about it.
    """


class StoppedError(Exception):
    """A command was asked to stop, and did. The message says what it did; its exit status is `UNFINISHED`."""


def brief(error: Exception) -> str:
    """Return the first sentence of a message: torch writes a paragraph."""
    return str(error).partition(". ")[0].partition("\n")[0]


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def unwritable(path: str | os.PathLike[str], error: Exception) -> InputError:
    """Return the error for a file that cannot be written: why, with the room that is left, and what to do.

    Args:
        path: the file, or the folder that is to hold it.
        error: what the file system, or a library that writes there, said.
    """
    reason = getattr(error, "strerror", None) or brief(error).rstrip(".")
    number = getattr(error, "errno", None)
    room = _room(Path(path)) if number in _NO_ROOM else ""
    advice = "Free some space, or c" if room else "Give permission, or c" if number in _FORBIDDEN else "C"
    return InputError(f"{path} cannot be written: {reason}{room}. {advice}hoose another place.")


def _room(path: Path) -> str:
    """How much is free where a file was to be, as text; nothing where the system does not say."""
    try:
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB are free in {folder})"
    except (OSError, StopIteration):
        return ""
