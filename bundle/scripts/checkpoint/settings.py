"""The settings that a training was started with, kept in its checkpoints and compared when it goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.errors import InputError
from scripts.volume_io import last_change

__all__ = ["check_settings", "file_states", "plain"]

logger = logging.getLogger(__name__)

_FILES = "files"
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

    Of `files`, as `file_states` returns them, another size is an error, too. Another time alone is a warning, since a
    copy on another machine has one, and so is a file of another name, such as the same volume in another format.

    Args:
        found: in the checkpoint.
        now: of this run, both as `plain` makes them.
        path: of the checkpoint, for the message.
    """
    changed = [name for name in now if name in found and _differ(found[name], now[name]) and name != _FILES]
    if changed:
        told = "; ".join(f"{name} was {found[name]!r}, is {now[name]!r}" for name in changed)
        raise InputError(
            f"{path}: was written with other settings: {told}. Give them as they were. To train on with these, start "
            "in another output_dir, from weights (--start_from model.pt) if you like."
        )
    for domain, files in now.get(_FILES, {}).items():
        _check_files(found.get(_FILES, {}).get(domain, files), files, path)


def _differ(found: Any, now: Any) -> bool:
    """Whether two settings differ in what both have: a checkpoint of before lacks weights of terms that are new."""
    if isinstance(found, Mapping) and isinstance(now, Mapping):
        return any(_differ(found[name], now[name]) for name in now if name in found)
    return bool(found != now)


def file_states(**volumes: Sequence[Mapping[str, Any]]) -> dict[str, list[list[str]]]:
    """Return name, and size and time of the last change, of each file of a domain's volumes.

    Args:
        **volumes: as `scripts.dataset.volume_items` lists them, by domain.
    """
    return {
        domain: [[item[key], last_change(item[key])] for item in items for key in ("image", "label") if key in item]
        for domain, items in volumes.items()
    }


def _check_files(found: Sequence[Sequence[str]], now: Sequence[Sequence[str]], path: str | os.PathLike) -> None:
    """Compare a domain's files in their order: they may have moved."""
    for (earlier, then), (name, is_now) in zip(found, now, strict=False):
        is_same_name = os.path.basename(earlier) == os.path.basename(name)
        if is_same_name and then.partition(" ")[0] != is_now.partition(" ")[0]:
            raise InputError(
                f"{path}: was trained on another {name}: {then} then, {is_now} now. Resume with that file, or start in "
                "another output_dir, from weights (--start_from model.pt) if you like."
            )
        if then != is_now:
            text = "%s: %s has changed since, or was copied: %s of %s then, and %s now."
            logger.warning(text, path, name, earlier, then, is_now)
