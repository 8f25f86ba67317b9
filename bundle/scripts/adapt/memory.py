"""The most memory that this process and those that it starts hold."""

from __future__ import annotations

import threading
import time

import psutil

__all__ = ["PeakMemory"]


class PeakMemory(threading.Thread):
    """Watches the memory of this process and its children; `megabytes` is the most they held at any look.

    It looks every other second, since a look walks all pages and takes a good part of a core for that long. Pages
    shared by several processes are counted once where the system tells (Linux), else for each.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self.start()

    def run(self) -> None:
        """Sample until the program ends."""
        while True:
            self.megabytes = max(self.megabytes, _memory_of_tree() / 1e6)
            time.sleep(2.0)


def _memory_of_tree() -> int:
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except psutil.Error:
            pass  # ended meanwhile
    return total
