"""What a result depends on, kept beside it, so that a folder of another run, or changed files, are rejected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.volume_io import file_change, last_change
from scripts.volume_io.replacement import write_text

__all__ = ["check_settings", "config_texts", "file_times", "read_settings", "write_settings"]

_FILE = "settings.json"
_BY_FILE = ("files", "label_y")
"""Settings that are sizes and times of files."""


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of an earlier command; none where there was none.

    Raises:
        InputError: they cannot be read.
    """
    path = folder / _FILE
    if not path.is_file():
        return {}
    try:
        found = dict(json.loads(path.read_text()))
        return {**found, **{name: dict(found[name]) for name in _BY_FILE if found.get(name) is not None}}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Remove its folder to run it again.") from error


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings of a run that is about to begin."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _FILE, json.dumps(settings, indent=2) + "\n")


def config_texts(configs: Sequence[Path]) -> list[str]:
    """Return a checksum and the name of each configuration."""
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()[:12]} {path.name}" for path in configs]


def file_times(volumes: Sequence[str], weights: str | None = None) -> dict[str, str]:
    """Return size and time of the last change of volumes and of a file of weights, by name."""
    files = {str(name): last_change(name) for name in dict.fromkeys(volumes)}
    return files if weights is None else {**files, str(weights): file_change(weights)}


def check_settings(folder: Path, now: Mapping[str, Any], results: Sequence[str], with_labels: bool = False) -> None:
    """See that what an earlier command left in a folder was made with the same settings, of the same files.

    Args:
        folder: of the run.
        now: the settings: `configs` as `config_texts` makes them, `files` and `label_y` as `file_times` does, others.
        results: names that a run leaves in the folder.
        with_labels: whether the result depends on Y's labels, which else only score.

    Raises:
        InputError: it was not; the settings or files are named.
    """
    advice = "Choose another output_dir, or remove that folder to run it again."
    if not (found := read_settings(folder)):
        if there := [name for name in results if (folder / name).exists()]:
            raise InputError(
                f"{folder} holds {there[0]} of a run that does not say how it was made (no {_FILE}). {advice}"
            )
        return
    if "files" not in found:
        raise InputError(
            f"{folder} holds a run of an earlier version, which did not keep size and time of what it read: a change "
            f"since would not be seen. {advice}"
        )
    names = {*now, *found} - {*_BY_FILE}
    if other := [name for name in names if found.get(name) != now.get(name)]:
        changed = sorted(_told(name, found.get(name), now.get(name)) for name in other if name != "configs")
        changed += _changed_configs(found, now)
        raise InputError(f"{folder} holds a run with other settings ({', '.join(changed)}). {advice}")
    if files := _changed_files(found, now, _BY_FILE if with_labels else _BY_FILE[:1]):
        raise InputError(f"{folder} holds a run of files that have changed since: {'; '.join(files)}. {advice}")


def _told(name: str, then: Any, is_now: Any) -> str:
    """The name of a setting; where it has several, of those that differ."""
    if not (isinstance(then, Mapping) and isinstance(is_now, Mapping)):
        return name
    return f"{name} {', '.join(sorted(key for key in {**then, **is_now} if then.get(key) != is_now.get(key)))}"


def _changed_configs(found: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the configurations whose text is another."""
    then, is_now = (texts if isinstance(texts := of.get("configs"), list) else [] for of in (found, now))
    return sorted({text.partition(" ")[2] for text in {*is_now, *then} if not (text in then and text in is_now)})


def _changed_files(found: Mapping[str, Any], now: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    """What was read and is another file now: its name, and size and time then and now."""
    then = {name: state for group in groups for name, state in (found.get(group) or {}).items()}
    is_now = {name: state for group in groups for name, state in now[group].items()}
    return [
        f"{name} was {then.get(name, 'not among them')}, is {is_now.get(name, 'not among them')}"
        for name in {**then, **is_now}
        if then.get(name) != is_now.get(name)
    ]
