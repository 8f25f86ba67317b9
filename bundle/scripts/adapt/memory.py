"""The most memory that this process and those that it starts hold."""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import suppress

import psutil

__all__ = ["PeakMemory"]


class PeakMemory:
    """Watches the memory of this process and its children; `megabytes` is the most they held at any look.

    It looks every other second, since a look walks all pages and takes a good part of a core for that long. Pages
    shared by several processes are counted once where the system tells (Linux), else for each. The thread that looks
    ends once nobody needs the object, so that a notebook keeps none.
    """

    def __init__(self) -> None:
        self.megabytes = 0.0
        threading.Thread(target=_watch, args=(weakref.ref(self),), daemon=True).start()


def _watch(reference: weakref.ref[PeakMemory]) -> None:
    while (peak := reference()) is not None:
        peak.megabytes = max(peak.megabytes, _memory_of_tree() / 1e6)
        del peak
        time.sleep(2.0)


def _memory_of_tree() -> int:
    """Bytes of this process and its children, of those that the system tells."""
    total, processes = 0, [psutil.Process()]
    with suppress(psutil.Error, OSError):
        processes += psutil.Process().children(recursive=True)
    for process in processes:
        with suppress(psutil.Error, OSError):  # ended meanwhile, or of another user
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total
