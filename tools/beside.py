"""Workload: training alone and beside one busy process, by how the threads of OpenMP wait for each other."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from material import Shape
from stopwatch import Result

_OWN = {"GOMP_SPINCOUNT": "300000"}
"""The default of libgomp; given, it leaves out `scripts.thread.short_waits_beside_others`."""
_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def beside(shape: Shape, iterations: int, configs: Sequence[str], rounds: int) -> Result:
    """Seconds of an iteration of a training with its workers, each time in a new process; the median of the rounds.

    The rounds take turns, because other work on the machine comes and goes.
    """
    waits: dict[str, Mapping[str, str]] = {"OpenMP's own": _OWN, "of our trainings": {}}
    laps: dict[tuple[str, bool], list[float]] = {}
    for _ in range(rounds):
        for name, variables in waits.items():
            for busy in (False, True):
                laps.setdefault((name, busy), []).append(_seconds(shape, iterations, configs, variables, busy))
    rows = []
    for name in waits:
        alone, busy = (statistics.median(laps[name, is_busy]) for is_busy in (False, True))
        rows.append({"waits": name, "s_alone": alone, "s_beside": busy, "speed_kept": alone / busy})
    first, ours = (row["s_alone"] for row in rows)
    return {"iterations": iterations, "rounds": rounds, "cost_alone": ours / first - 1, "rows": rows}


def step(shape: Shape, iterations: int, configs: Sequence[str]) -> float:
    """Median seconds of an iteration; called in the process that is its own."""
    from training import loader  # here, since torch is to find the variables

    return float(loader(shape, iterations, configs)["seconds"])


def _seconds(shape: Shape, iterations: int, configs: Sequence[str], variables: Mapping[str, str], busy: bool) -> float:
    with _environment(variables), _busy_process(busy), ProcessPoolExecutor(1, _SPAWN) as process:
        return process.submit(step, shape, iterations, configs).result()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes that are started meanwhile have these variables, and no other that says how threads wait."""
    before = {name: os.environ.pop(name) for name in _VARIABLES if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _busy_process(wanted: bool) -> Iterator[None]:
    """Keep one core busy meanwhile."""
    process: Any = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


_SPAWN = multiprocessing.get_context("spawn")
