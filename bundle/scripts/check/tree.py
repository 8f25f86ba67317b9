"""A configuration as nested dictionaries and lists: ids such as `network_def::filters`, references, components."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = [
    "SEPARATOR",
    "child",
    "copied",
    "has",
    "is_component",
    "normal",
    "parent",
    "references",
    "referred",
    "subtree",
    "walk",
]

SEPARATOR = "::"
REFERENCE = re.compile(r"@(\w*(?:(?:::|#)\w+)*)")
NOTHING = object()


def normal(key: str) -> str:
    """Return an id with the separator that MONAI prefers; `#` is its older one."""
    return key.replace("#", SEPARATOR)


def parent(key: str) -> str:
    """Return the id one level up, nothing for one at the top."""
    return key.rpartition(SEPARATOR)[0]


def child(config: Any, key: str, default: Any = None) -> Any:
    """Return what an id names, `default` where there is no such id; nothing names the whole."""
    for part in key.split(SEPARATOR) if key else ():
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif isinstance(config, list) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return default
    return config


def copied(value: Any) -> Any:
    """Return a value with dictionaries and lists of its own; objects in them are the same."""
    if isinstance(value, dict):
        return {name: copied(part) for name, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


def has(config: Any, key: str) -> bool:
    """Return whether there is such an id."""
    return child(config, key, NOTHING) is not NOTHING


def is_component(value: Any) -> bool:
    """Return whether a value is the definition of an object, with `_target_`."""
    return isinstance(value, Mapping) and "_target_" in value


def walk(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every id and what it names, a whole before its parts; `_meta_` is left out."""
    if key:
        yield key, config
    parts = config.items() if isinstance(config, Mapping) else enumerate(config) if isinstance(config, list) else ()
    for name, value in parts:
        if key or name != "_meta_":
            yield from walk(value, f"{key}{SEPARATOR}{name}" if key else str(name))


def references(value: Any) -> list[str]:
    """Return the ids that a text refers to, as MONAI reads it: `@id` as a whole, or any in an expression."""
    if not isinstance(value, str) or not value.startswith(("@", "$")) or (value[0] == "$" and "import" in value):
        return []
    found = [normal(name) for name in REFERENCE.findall(value)]
    return found if value[0] == "$" or REFERENCE.fullmatch(value) else []


def referred(config: Any) -> dict[str, str]:
    """Return all ids that anything refers to, and where the first reference stands."""
    found: dict[str, str] = {}
    for key, value in walk(config):
        for name in references(value):
            found.setdefault(name, key)
    return found


def subtree(keys: Mapping[str, Any], key: str) -> list[str]:
    """Return those of the ids that are `key` or lie below it."""
    return [name for name in keys if name == key or name.startswith(f"{key}{SEPARATOR}")]
