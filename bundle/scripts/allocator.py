"""Memory of the C library kept for reuse: on a CPU, fetching it anew costs more than the arithmetic done in it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["reused_memory"]

# Parameters of glibc's mallopt, and what they are by default.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULT_TRIM, _DEFAULT_MMAP = 128 * 1024, 65536


class _Nesting:
    depth = 0


@contextmanager
def reused_memory() -> Iterator[bool]:
    """Within it, memory that is freed stays with the process; at the end what is unused goes back to the system.

    By default the C library asks the system for every array over 32 MB, and the system clears it page by page: an
    addition of two tensors of 72 MB then takes 24 ms in the place of 6 (``tools/benchmark.py --only allocation``). A
    worker process that is started within keeps the setting. Yields whether it has any effect: it needs glibc (Linux).
    """
    library = _glibc()
    if library is None:
        yield False
        return
    _Nesting.depth += 1
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield True
    finally:
        _Nesting.depth -= 1
        if _Nesting.depth == 0:
            library.mallopt(_MMAP_MAX, _DEFAULT_MMAP)
            library.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM)
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "gnu_get_libc_version") else None
    except (OSError, TypeError):  # Windows has no such library
        return None
