"""Which channels of a file are the maps to decode."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.errors import InputError

__all__ = ["first_map"]


def first_map(pred: str, count: int, names: Sequence[str], expected: Sequence[str]) -> int:
    """1 where the translated image comes first, else 0; a file without names is told by its number of channels.

    Affinities, of which there may be any number, are then taken to come without the image.
    """
    if names:
        first = int(names[0] == "image")
        found = list(dict.fromkeys(name.partition(" ")[0] for name in names[first:]))  # "affinity 1", "affinity 2"
        if found != list(expected):
            holds, wanted = ", ".join(names), ", ".join(expected)
            raise InputError(f"{pred}: holds {holds}; expected {wanted}. Give the --target that it was made for.")
        return first
    if tuple(expected) == ("affinity",):
        return 0
    if count - len(expected) not in (0, 1):
        wanted = f"{len(expected)} ({', '.join(expected)}) or {len(expected) + 1} (the translated image before them)"
        raise InputError(f"{pred}: found {count} channels, expected {wanted}.")
    return count - len(expected)
