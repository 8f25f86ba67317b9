"""Configurations for our own commands: a base of this bundle, with overlays and overrides upon it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from scripts.check.source import read_source
from scripts.command.bundle import BUNDLE, listed
from scripts.errors import InputError

__all__ = ["configuration", "overlay_files"]


def overlay_files(config: str | Sequence[str], base: str) -> list[Path]:
    """Return the files of overlays, the base left out where it was named.

    Args:
        config: their names, as `listed` takes them.
        base: "train" or "inference".

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    paths = [Path(name) for name in listed(config)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"config: no file {', '.join(missing)}; expected overlays on {base}.yaml, with commas between."
        )
    for path in paths:
        read_source(path)  # whose errors name file and line; MONAI's do not
    return [path.resolve() for path in paths if path.resolve() != _base_file(base)]


def configuration(base: str, overlays: Sequence[Path], overrides: Mapping[str, Any] | None = None) -> ConfigParser:
    """Return a base of this bundle with overlays and overrides upon it, to take ids from.

    Args:
        base: "train" or "inference".
        overlays: files.
        overrides: keys and values; a key's parts may be joined by # or ::.
    """
    parser = ConfigParser()
    parser.read_config([str(path) for path in (_base_file(base), *overlays)])
    values = {name.replace("#", "::"): value for name, value in (overrides or {}).items()}
    parser.update(pairs={"bundle_root": str(BUNDLE), **values})
    return parser


def _base_file(base: str) -> Path:
    return BUNDLE / "configs" / f"{base}.yaml"
