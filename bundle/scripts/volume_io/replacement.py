"""Files that are replaced at once: written under a temporary name first, so that each is old or new, never half."""

from __future__ import annotations

import csv
import glob
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import psutil
from scripts.errors import InputError, unwritable

__all__ = ["remove_of_killed", "replacing", "write_npz", "write_table", "write_text"]

_OWN = f".{crc32(platform.node().encode()):08x}-"
"""Temporary names begin with this machine (in few letters: names have an end), the process and a random number."""
_TRIES, _PAUSE = 20, 0.05  # seconds


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`, which takes the place of `path` once it was written whole.

    Args:
        path: the file, or a folder such as a Zarr store.
        durable: whether the file and its name are on the disk when this returns, so that both outlast a power cut.

    Raises:
        InputError: the file cannot be written (no permission, no space left, …); what was there before is untouched.
    """
    temporary = path.with_name(f"{_OWN}{os.getpid()}-{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _flush(temporary, os.O_RDWR)  # Windows flushes no file that is open to be read alone
        _put(temporary, path)
        if durable:
            with suppress(OSError):  # not every system flushes folders
                _flush(path.parent, os.O_RDONLY)
    except OSError as error:
        raise unwritable(path, error) from error
    except InputError as error:  # which names the temporary file: the user knows the other name
        raise InputError(str(error).replace(temporary.name, path.name)) from error
    finally:
        _remove(temporary)


def remove_of_killed(path: Path) -> None:
    """Remove what writers of a file on this machine left that are no more. What another one writes now stays."""
    for left in path.parent.glob(f"{glob.escape(_OWN)}*.{glob.escape(path.name)}"):
        process = left.name.removeprefix(_OWN).partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        InputError: it cannot be written; what was there before is untouched.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write dictionaries as a CSV file.

    Args:
        path: the file.
        rows: with numbers or text by column.
        columns: which come first, whether a row has them or not.

    Raises:
        InputError: it cannot be written; what was there before is untouched.
    """
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(names), restval="")
        table.writeheader()
        table.writerows(rows)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as numpy's compressed .npz, which is on the disk when this returns.

    Raises:
        InputError: the file cannot be written (no permission, no space left, …); what was there before is untouched.
    """
    with replacing(path, durable=True) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **dict[str, Any](arrays))


def _flush(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(temporary: Path, path: Path) -> None:
    """Move to a name; a folder that has it goes once the new one is there."""
    old = temporary.with_name(f"{temporary.name}.old")
    if not path.is_dir():
        os.replace(temporary, path)
        return
    os.replace(path, old)
    try:
        os.replace(temporary, path)
    except OSError:
        os.replace(old, path)
        raise
    if old.is_symlink():  # of a link to a store, the link alone is replaced, as with files
        old.unlink()
    else:
        shutil.rmtree(old)


def _remove(path: Path) -> None:
    if not path.is_dir():
        with suppress(OSError):  # of a file system that can no longer be written, which was reported before
            path.unlink(missing_ok=True)
        return
    for _ in range(_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        # Threads may still be writing parts of a store that failed, and make its folder again.
        time.sleep(_PAUSE)
        if not path.exists():
            return
