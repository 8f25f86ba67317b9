"""Names of files and folders in a configuration: expanded once, and rejected where MONAI would change them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from scripts.check.problem import Problem
from scripts.command.argument import PATHS, VOLUMES
from scripts.errors import InputError

__all__ = ["KEYS", "expand_paths", "paths"]

KEYS = PATHS - {"tracking_uri"}
"""Keys at the top of a configuration that name files and folders."""


def expand_paths(config: MutableMapping[str, Any]) -> list[Problem]:
    """Replace `~`, `$VAR` and `${VAR}` in all names of files and folders of a configuration.

    Returns:
        Names with a variable or a user that is not known.
    """
    from scripts.command.address import expanded

    problems = []
    for key in sorted(KEYS & config.keys()):
        try:
            if isinstance(config[key], list):
                config[key] = [expanded(part) if isinstance(part, str) else part for part in config[key]]
            elif isinstance(config[key], str):
                config[key] = expanded(config[key])
        except InputError as error:
            problems.append(Problem("", key, str(error)))
    return problems


def paths(config: Mapping[str, Any]) -> Iterator[Problem]:
    """See that MONAI leaves the names as they are."""
    for key in sorted(KEYS & config.keys()):
        value = config[key]
        for name in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(name, str) and not name.startswith(("$", "@")):
                yield from _name(key, name)


def _name(key: str, name: str) -> Iterator[Problem]:
    if name.startswith("%"):
        yield Problem("", key, f"{name}: MONAI takes a name that begins with % for another file's key. Write ./{name}.")
    elif "#" in name:
        changed = name.replace("#", "::")
        text = f"{name}: MONAI changes # to :: in every value, so it would use {changed}. Expected a name without #. "
        yield Problem("", key, f"{text}Rename the file or folder, or give a link to it.")
    elif "::" in name and key not in VOLUMES and not os.path.exists(name):
        text = f"{name}: a name with ::, which MONAI also makes of #. Expected a name without either."
        yield Problem("", key, text)
