"""Freed memory is kept for reuse as long as asked, and no longer."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
from scripts import allocator
from scripts.allocator import reused_memory

MEGABYTES = 200


def held() -> float:
    return psutil.Process().memory_info().rss / 2**20


def use() -> None:
    """Write to an array that is gone on return."""
    np.ones(MEGABYTES * 2**20, np.uint8)


def test_what_is_freed_stays_until_the_end() -> None:
    before = held()
    with reused_memory() as works:
        if not works:
            pytest.skip("the C library of this system is not glibc")
        use()
        assert held() > before + 0.9 * MEGABYTES
    assert held() < before + 0.2 * MEGABYTES


def test_the_end_of_an_inner_use_does_not_end_the_outer_one() -> None:
    with reused_memory() as works:
        if not works:
            pytest.skip("the C library of this system is not glibc")
        before = held()
        with reused_memory():
            use()
        assert held() > before + 0.5 * MEGABYTES


def test_nothing_happens_with_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with reused_memory() as works:
        assert not works


def test_an_error_within_ends_it_too() -> None:
    with pytest.raises(ZeroDivisionError), reused_memory():
        use()
        _ = 1 / 0
    assert allocator._Nesting.depth == 0
