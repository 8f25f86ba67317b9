"""Waits of OpenMP's threads are short while other processes want the same cores, and else as they were."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import torch
from scripts import thread as module
from scripts.thread import OtherLoad, short_waits_beside_others

WAIT = 60.0


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[queue.Queue[float]]:
    """Two threads on two cores, and a queue of what other processes want at each look."""
    loads: queue.Queue[float] = queue.Queue()
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(OtherLoad, "_times", lambda _: (0.0, 0.0, 0.0))
    monkeypatch.setattr(OtherLoad, "cores", lambda _: loads.get(timeout=WAIT))
    yield loads


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[threading.Event]:
    """What is given whenever threads are to be held, until it is set."""
    events: queue.Queue[threading.Event] = queue.Queue()
    monkeypatch.setattr(module, "_hold_threads", events.put)
    return events


def test_threads_are_held_while_others_want_the_cores(two_cores: Any, held: Any) -> None:
    with short_waits_beside_others(0.0):
        for load in (0.1, 1.0, 1.0, 0.0, 0.5):
            two_cores.put(load)
        first, second = held.get(timeout=WAIT), held.get(timeout=WAIT)
        assert first.is_set() and not second.is_set()
        two_cores.put(0.5)
    two_cores.put(0.5)  # a look that was about to be taken
    assert second.wait(WAIT)
    assert held.empty()


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "one thread"])
def test_nothing_is_done_where_the_user_says_how_threads_wait_or_there_is_one(
    name: str, two_cores: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1) if name == "one thread" else monkeypatch.setenv(name, "1")
    before = threading.active_count()
    with short_waits_beside_others(0.0):
        assert threading.active_count() == before


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), FileNotFoundError("/proc/stat")])
def test_a_system_that_does_not_tell_the_load_of_others_ends_the_watch_alone(
    error: Exception, two_cores: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", said.append)

    def cores(load: OtherLoad) -> float:
        if (found := two_cores.get(timeout=WAIT)) < 0:
            raise error
        return found

    monkeypatch.setattr(OtherLoad, "cores", cores)
    with short_waits_beside_others(0.0):
        two_cores.put(1.0)
        released = held.get(timeout=WAIT)
        two_cores.put(-1.0)
        assert released.wait(WAIT)
    assert not said


def test_the_load_of_others_leaves_out_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    times = iter([(0.0, 0.0, 0.0), (40.0, 30.0, 20.0), (40.0, 30.0, 20.0), (80.0, 31.0, 60.0)])
    monkeypatch.setattr(OtherLoad, "_times", lambda _: next(times))
    load = OtherLoad()
    assert [load.cores() for _ in range(3)] == [1.0, 0.0, 0.0]


def test_the_times_of_this_machine_make_sense() -> None:
    whole, busy, own = OtherLoad()._times()
    assert whole >= busy >= 0 < own


def test_held_threads_end_with_what_called_for_them() -> None:
    released = threading.Event()
    thread = threading.Thread(target=module._hold_threads, args=(released,))
    thread.start()
    assert thread.is_alive()
    released.set()
    thread.join(WAIT)
    assert not thread.is_alive()
