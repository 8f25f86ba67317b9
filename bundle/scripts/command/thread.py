"""How the threads of OpenMP wait for each other; only the environment of a new process can say it.

Training consists of many short parallel parts. A thread that has done its share spins for some milliseconds before it
sleeps. Beside another busy process it spins on the core that the other thread needs, and training falls to a fraction
of its speed. Threads that sleep at once must be woken each time, which costs much on an idle machine. So they spin for
a short time. `tools/benchmark.py --only beside` measures all three.

Only the standard library is imported here, because the variable must be set before torch is imported.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["short_waits"]

# libgomp, which torch brings on Linux, spins 300,000 times by default.
_SHORT = {"GOMP_SPINCOUNT": "1000"}
_GIVEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def short_waits(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what to add to the environment of a command; nothing where it already says how threads wait."""
    return {} if any(name in environment for name in _GIVEN) else dict(_SHORT)
