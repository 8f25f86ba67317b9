"""A file that HDF5 writes to without ever being refused: where the disk is full, its library crashes on closing."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Sink"]


class Sink:
    """A file for `h5py.File`; the first write that fails is kept, for `check` to raise.

    From then on what is written stays in memory, so that HDF5 reads back what it wrote and closes in good order. Let
    `check` be called after every part, then that is one part and some metadata.

    Args:
        path: made anew.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []
        self._at = self._end = 0

    def check(self) -> None:
        """Raise what a write raised.

        Raises:
            OSError: no space left, or another error of the disk.
        """
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file; nothing is raised."""
        self._file.close()

    def sync(self) -> None:
        """See that all of it is on the disk, which may be full only now.

        Raises:
            OSError: as `check`.
        """
        self.check()
        self._file.truncate(self._end)
        os.fsync(self._file.fileno())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as in any file."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def write(self, data: memoryview) -> int:
        """Write all of the data, to the disk or, once that has failed, to memory."""
        rest, at = memoryview(data).cast("B"), self._at
        try:
            while self._error is None and rest:
                self._file.seek(at)
                written = self._file.write(rest)
                rest, at = rest[written:], at + written
        except OSError as error:
            self._error = error
        if rest:
            self._kept.append((at, bytes(rest)))
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def readinto(self, buffer: memoryview) -> int:
        """Read what was written; zeros beyond the end of the file."""
        start, size = self._at, len(buffer)
        self._file.seek(start)
        found = self._file.read(size)
        buffer[:] = found.ljust(size, b"\0")
        for at, data in self._kept:
            low, high = max(at, start), min(at + len(data), start + size)
            if low < high:
                buffer[low - start : high - start] = data[low - at : high - at]
        self._at += size
        return size

    def read(self, size: int) -> bytes:
        """Read as `readinto` does; h5py takes for a file what has this."""
        buffer = bytearray(size)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def truncate(self, size: int) -> int:
        """Set the length, which takes no room."""
        self._end = size
        return size

    def flush(self) -> None:
        """Do nothing: nothing is held back."""
