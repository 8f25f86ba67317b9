"""Seconds, core-seconds, memory and floating-point operations of a piece of work."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

Result = dict[str, Any]


class Stopwatch:
    """Seconds and core-seconds of each lap; memory from the moment the watch is made."""

    def __init__(self) -> None:
        self.before = psutil.Process().memory_info().rss
        self.laps: list[tuple[float, float]] = []
        _forget_peak()

    def start(self, *_: Any) -> None:
        _finish_on_gpu()
        self.begun = time.perf_counter(), time.process_time()

    def stop(self, *_: Any) -> None:
        _finish_on_gpu()
        self.laps.append((time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]))

    def time(self, work: Callable[[], Any], iterations: int) -> Any:
        """Return what the last of the runs of `work` returned."""
        for _ in range(iterations):
            self.start()
            value = work()
            self.stop()
        return value

    def result(
        self, voxels: int = 0, average: Callable[[Sequence[float]], float] = statistics.median, **more: Any
    ) -> Result:
        """Sum up; with `voxels` a lap went through, their number per second and core-second."""
        seconds, core_seconds = (average(column) for column in zip(*self.laps[1:] or self.laps, strict=True))
        rates = {"voxels_per_second": voxels / seconds, "voxels_per_core_second": voxels / core_seconds}
        memory = {"peak_memory_mb": peak() / 1e6, "memory_before_mb": self.before / 1e6}
        times = {"seconds": seconds, "core_seconds": core_seconds, "iterations": len(self.laps)}
        return times | (rates if voxels else {}) | memory | more


def operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of convolutions and matrix products, two for a multiplication and its addition.

    Those that are carried out, repeated ones too. Counting slows the work and may add to its memory: never time it.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def _finish_on_gpu() -> None:
    """A GPU works on after the call that asked it to; most workloads use none, and some not even torch."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _forget_peak() -> None:
    """Let the peak start from here, so that it leaves out what preparation took; possible on Linux alone."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak of memory includes preparation on this system", file=sys.stderr)


def peak() -> int:
    """Most memory (bytes) that this process held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
