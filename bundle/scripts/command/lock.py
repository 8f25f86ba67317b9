"""One process at a time works on a file or a folder: the others are refused, by a lock of the operating system."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from scripts.errors import InputError, unwritable

__all__ = ["Lock"]

logger = logging.getLogger(__name__)

_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


class Lock:
    """A lock beside what it protects; a process that is killed gives it back.

    Args:
        path: of the lock's file. It stays when the lock is given back, and says who had it.
        what: what is protected, as an error calls it.
        reentrant: whether this process may take it a second time.
    """

    def __init__(self, path: str | os.PathLike[str], what: str | os.PathLike[str], reentrant: bool = False) -> None:
        self.path, self.what, self.reentrant = Path(path), what, reentrant
        self.owner = self.path.with_suffix(".owner.json")
        # Not the library's other kind of lock, a file that is there: a process that is killed would leave it.
        self.lock = FileLock(self.path, timeout=0, fallback_to_soft=False)

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self) -> None:
        """Take the lock, or see that this process has it.

        Raises:
            InputError: another process has it, or the folder cannot be written.
        """
        if self.lock.is_locked:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.lock.acquire()
        except Timeout as error:
            self._refuse(error)
        except (NotImplementedError, OSError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in _UNSUPPORTED:
                raise unwritable(self.what, error) from error
            logger.warning("%s: this file system has no locks; see that no other run writes there.", self.what)
        else:
            with suppress(OSError):
                self.owner.write_text(json.dumps(_this_process()))

    def give_back(self) -> None:
        """Let others take it."""
        if self.lock.is_locked:
            with suppress(OSError):
                self.owner.unlink(missing_ok=True)
        self.lock.release()

    def _refuse(self, error: Timeout) -> None:
        try:
            found = json.loads(self.owner.read_text())
            who = f"process {found['process']} on {found['host']}, started {found['started']}"
        except (OSError, ValueError, KeyError, TypeError):
            found, who = {}, "it does not say which"
        if self.reentrant and {**found, "started": ""} == {**_this_process(), "started": ""}:
            return  # a second training of this process, such as a label server's, comes after the first
        raise InputError(
            f"{self.what}: another run works on this output ({who}). Wait until it has ended, or choose another place."
        ) from error


def _this_process() -> dict[str, Any]:
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": platform.node(), "started": started}
