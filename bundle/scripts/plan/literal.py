"""Definitions of a configuration as plain data: references followed, expressions worked out, no object in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_literal", "literal"]

_TRUTH = {"true": True, "false": False}
_NOTES = ("_desc_", "_requires_", "_disabled_")
"""Keys of a definition that say nothing of the object that is made."""
_DROPPED = object()


def literal(parser: Any, key: str) -> Any:
    """Return what an id of a configuration is defined as, as plain data.

    Definitions (`_target_`) stay definitions, and their arguments become literals: `out_channels` a number. Parts that
    are disabled are left out. What is no plain data is returned as it is; `scripts.plan.Plan` rejects it.

    Args:
        parser: MONAI's ConfigParser; what expressions refer to is made, once, as it does for any other use.
        key: the id, such as `network_def`.
    """
    return _of(parser, key, parser[key])


def as_literal(value: Any) -> Any:
    """Return a value in dictionaries, lists, numbers and texts; the text "true" of a command line as a truth value."""
    if isinstance(value, Mapping):
        return {str(name): as_literal(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_literal(part) for part in value]
    if isinstance(value, str):
        return _TRUTH.get(value.lower(), value)
    item = getattr(value, "item", None)  # of a number of numpy or torch
    return item() if callable(item) and getattr(value, "ndim", 1) == 0 else value


def _of(parser: Any, key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value and _is_disabled(parser, key, value):
            return _DROPPED
        named = {name: _of(parser, f"{key}::{name}", part) for name, part in value.items() if name not in _NOTES}
        return {str(name): part for name, part in named.items() if part is not _DROPPED}
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [_of(parser, f"{key}::{number}", part) for number, part in enumerate(value)]
        return [part for part in parts if part is not _DROPPED]
    if isinstance(value, str) and value.startswith("@"):
        return _of(parser, value[1:], parser[value[1:]])
    if isinstance(value, str) and value.startswith("$"):
        return as_literal(parser.get_parsed_content(key))
    return as_literal(value)


def _is_disabled(parser: Any, key: str, value: Mapping[str, Any]) -> bool:
    found = value.get("_disabled_", False)
    if isinstance(found, str) and found.startswith(("$", "@")):
        found = parser.get_parsed_content(f"{key}::_disabled_")
    return as_literal(found) is True
