"""Parts of a volume that its file lacks, and that readers take for zeros without a word."""

from __future__ import annotations

from typing import NamedTuple

from scripts.errors import InputError
from scripts.volume_io.unit import warn_once

__all__ = ["Absent", "is_lacking", "report_absent"]


class Absent(NamedTuple):
    """How many parts are not there.

    Attributes:
        lacking: those that are not there.
        total: those that belong to the volume.
        part: what they are called: "chunks", "planes", …
        reason: what became of them, such as "were never written".
        fill: the value that is read for them, or its name, such as NaN.
    """

    lacking: int
    total: int
    part: str
    reason: str
    fill: float | str = 0

    def __str__(self) -> str:
        share = f"{100 * self.lacking / self.total:.3g} %"
        fill = self.fill if isinstance(self.fill, str) else f"{self.fill:g}"
        return f"{self.lacking} of {self.total} {self.part} ({share}) {self.reason} and are read as {fill}"


def is_lacking(absent: Absent | None) -> bool:
    """Return whether there is a part that is not there."""
    return absent is not None and absent.lacking > 0


def report_absent(name: object, absent: Absent | None) -> None:
    """Warn of parts that are not there, once in a process for each volume; nothing is said where all are.

    Args:
        name: of the volume, as given.
        absent: what is not there, None for nothing.

    Raises:
        InputError: nothing of the volume is there.
    """
    if absent is None or not absent.lacking:
        return
    if absent.lacking >= absent.total:
        raise InputError(f"{name}: all {absent.total} {absent.part} {absent.reason}; there is nothing to read.")
    warn_once(f"{name}: {absent}. If that is not meant, copy or write the file again.")
