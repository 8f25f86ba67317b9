"""Threads of OpenMP that wait for each other: they sleep sooner while other processes want the same cores.

Training consists of many short parallel parts. A thread that has done its share spins for milliseconds before it
sleeps. On an idle machine that is fast. Beside another busy process it spins on the core that the other thread needs,
and training falls to a fraction of its speed.

The environment can shorten the time (GOMP_SPINCOUNT), but only before torch is imported, and an idle machine then loses
speed. But libgomp spins 100 times instead of 300,000 as long as it has more threads than there are cores, as its manual
says under GOMP_SPINCOUNT. So a second group of threads, which sleeps, shortens the waits while it is there.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import torch

__all__ = ["OtherLoad", "short_waits_beside_others"]

logger = logging.getLogger(__name__)
_GIVEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_SPARE = 0.3
"""Cores that other processes may want before waits become short; an idle system wants some hundredths."""


@contextmanager
def short_waits_beside_others(seconds: float = 2.0) -> Iterator[None]:
    """Within it, shorten the waits of OpenMP's threads while other processes want the same cores.

    Nothing is done where there is one thread, where the environment says how threads wait, or on another system than
    Linux.

    Args:
        seconds: between two looks at what other processes want.
    """
    ended = threading.Event()
    if torch.get_num_threads() > 1 and hasattr(os, "sched_getaffinity") and not any(map(os.environ.get, _GIVEN)):
        threading.Thread(target=_watch, args=(ended, seconds), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


class OtherLoad:
    """How many cores other processes were busy on since the last look, of those that this process may use."""

    def __init__(self) -> None:
        self._before = self._times()

    def cores(self) -> float:
        """Return their number; 0 at once after a look."""
        before, now = self._before, self._times()
        self._before = now
        whole, busy, own = (after - first for first, after in zip(before, now, strict=True))
        return max(0.0, busy - own) * len(os.sched_getaffinity(0)) / whole if whole > 0 else 0.0

    def _times(self) -> tuple[float, float, float]:
        """Seconds that passed on all cores together, that were used, and that this process and its workers used."""
        mine = os.sched_getaffinity(0)
        cores = [times for number, times in enumerate(psutil.cpu_times(percpu=True)) if number in mine]
        whole = sum(sum(times[:8]) for times in cores)  # what follows, times of guests, is in user and nice already
        own = 0.0
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            with suppress(psutil.Error):  # ended meanwhile
                own += sum(process.cpu_times()[:2])
        return whole, whole - sum(times.idle + times.iowait for times in cores), own


def _watch(ended: threading.Event, seconds: float) -> None:
    """Hold threads while others want the cores. Where the system does not tell what they want, this ends unnoticed."""
    released, held = threading.Event(), False
    try:
        load = OtherLoad()
        while not ended.wait(seconds):
            wanted = load.cores() + torch.get_num_threads() > len(os.sched_getaffinity(0)) + _SPARE
            if wanted and not held:
                released = threading.Event()
                threading.Thread(target=_hold_threads, args=(released,), daemon=True).start()
            elif held and not wanted:
                released.set()
            held = wanted
    except (psutil.Error, OSError, RuntimeError) as error:  # such as a hidden /proc, or no room for a thread
        logger.debug("waits of threads stay as they are: %s", error)
    finally:
        released.set()


def _hold_threads(released: threading.Event) -> None:
    """Have threads of OpenMP that sleep, until the event; they end with the thread that called for them."""
    torch.zeros(2**20).add_(1)  # large enough for several threads
    released.wait()
