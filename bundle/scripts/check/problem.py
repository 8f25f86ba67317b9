"""What is wrong with a configuration, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from scripts.errors import InputError

__all__ = ["Problem", "closest", "refuse", "shown"]


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        place: file and line, "command line", or the volume; nothing where `found` is a whole message.
        key: of the configuration.
        found: what is there, or a message that says all.
        expected: what should be; nothing where `found` is a whole message.
        advice: what to do, or what may be meant.
    """

    place: str
    key: str
    found: str
    expected: str = ""
    advice: str = ""

    def __str__(self) -> str:
        if not self.expected:
            return f"{self.found} (key {self.key})" if self.key else self.found
        parts = ": ".join(part for part in (self.place, self.key) if part)
        text = f"{parts}: found {self.found}, expected {self.expected}."
        return f"{text} {self.advice}" if self.advice else text


def refuse(problems: Sequence[Problem]) -> None:
    """Say all problems in one error, a line each; nothing happens without any.

    Raises:
        InputError: there are some.
    """
    lines = list(dict.fromkeys(map(str, problems)))
    if len(lines) == 1:
        raise InputError(lines[0])
    if lines:
        raise InputError("\n  ".join([f"{len(lines)} problems, before any work:", *lines]))


def closest(key: str, known: Sequence[str]) -> str:
    """Return "Did you mean …?" for a key that is not known, nothing where none is like it.

    What differs in a few letters comes first, then ids that end in the key: `filters` is `network_def::filters`.
    """
    near = get_close_matches(key, known, n=2, cutoff=0.7)
    last = key.rpartition("::")[2]
    near = near or [name for name in known if name.rpartition("::")[2] == last][:3]
    near = near or get_close_matches(key, known, n=1, cutoff=0.55)
    return f"Did you mean {' or '.join(near)}?" if near else ""


def shown(value: Any) -> str:
    """Return a value as a message shows it: texts in quotes, long ones cut."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
