"""Yes or no, as configurations and command lines give it."""

from __future__ import annotations

from scripts.errors import InputError

__all__ = ["flag"]


def flag(value: bool | int | str | None, name: str) -> bool:
    """Return a switch as a truth value: MONAI's command line reads ``--amp true`` as the text "true".

    Args:
        value: true or false, 1 or 0, as such or as text in any case; None is false.
        name: of the key, for the message.

    Raises:
        InputError: it is something else.
    """
    known = {"true": True, "1": True, "false": False, "0": False, "none": False}
    if (text := str(value).lower()) not in known:
        raise InputError(f"{name} is {value!r}; expected true or false.")
    return known[text]
