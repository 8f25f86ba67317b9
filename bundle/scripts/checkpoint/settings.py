"""The settings that a training was started with, kept in its checkpoints and compared when it goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from scripts.errors import InputError

__all__ = ["check_settings", "plain"]

_TRUTH = {"true": True, "false": False}


def plain(value: Any) -> Any:
    """Return a setting in containers, numbers and text alone, as a checkpoint can hold it.

    What a command line gives as the text "true" is a truth value; what is neither number nor container becomes text.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, str):
        return _TRUTH.get(value.lower(), value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def check_settings(found: Mapping[str, Any], now: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Raise an InputError when a setting differs from that in a checkpoint; those that only one side has pass.

    Args:
        found: in the checkpoint.
        now: of this run, both as `plain` makes them.
        path: of the checkpoint, for the message.
    """
    changed = [name for name in now if name in found and found[name] != now[name]]
    if changed:
        told = "; ".join(f"{name} was {found[name]!r}, is {now[name]!r}" for name in changed)
        raise InputError(
            f"{path}: was written with other settings: {told}. Give them as they were. To train on with these, start "
            "in another output_dir, from weights (--start_from model.pt) if you like."
        )
