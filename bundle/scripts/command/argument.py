"""What was typed on a command line, bound to the parameters of a command: each is read as its annotation says.

A name stays as it was typed: a folder 20241105, 0x10, 1e5, 01, None or True is no number, and in `fish#2.tif` the `#`
starts no comment.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from scripts.command.flag import flag
from scripts.errors import InputError

__all__ = ["PATHS", "VOLUMES", "bound", "unknown_flag"]

VOLUMES = ("image", "label", "image_x", "label_x", "image_y", "label_y", "maps", "instances")
"""Keys of the configurations that are names of volumes: of these, `::` parts a file and a dataset."""
PATHS = frozenset(("bundle_root", "dataset_dir", "output_dir", "model_path", "start_from", "tracking_uri", *VOLUMES))
"""Keys of the configurations that are names of files and folders; a command takes them as further flags."""

PATH = str | Sequence[str]
_FLAG = re.compile(r"--|-[a-zA-Z]")
_PLURAL = (Sequence, list, tuple)


def bound(main: Callable[..., Any], typed: Sequence[str], name: str) -> inspect.BoundArguments:
    """Return the arguments of a call of `main`.

    Args:
        main: the command.
        typed: words of the command line: values, `--flag value`, `--flag=value`, or `--flag` alone for true.
        name: of the command, for messages.

    Raises:
        InputError: an unknown flag, one without a value, twice or of another type, or a required one that is missing.
    """
    signature = inspect.signature(main)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    takes_any = len(parameters) < len(signature.parameters)
    known = [p.name for p in parameters]
    hints = get_type_hints(main)
    values: dict[str, Any] = {}
    for key, text in _named(typed, known, name):
        if key not in known and not takes_any:
            raise unknown_flag(key, known)
        if key in values:
            raise InputError(f"--{key}: found twice, expected once.")
        values[key] = _read(key, text, hints[key] if key in known else PATH if key in PATHS else Any)
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in values]
    if missing:
        raise InputError(f"found no {_flags(missing)}, which {name} needs. {_help(name)}")
    return signature.bind(**values)


def unknown_flag(key: str, known: Sequence[str]) -> InputError:
    """Return the error for a flag that a command has not, with the one that may be meant."""
    near = get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.6)
    meant = f" Did you mean --{near[0]}?" if near else ""
    return InputError(f"found flag --{key}, expected {_flags(known)}.{meant}")


def _named(typed: Sequence[str], known: Sequence[str], name: str) -> list[tuple[str, str | None]]:
    """Each flag and its value, None where none follows. Words alone are values of the free parameters in order."""
    pairs, words = [], []
    rest = list(typed)
    while rest:
        word = rest.pop(0)
        if not _FLAG.match(word):
            words.append(word)
            continue
        flagged, equals, value = word.lstrip("-").partition("=")
        follows = not equals and bool(rest) and not _FLAG.match(rest[0])
        pairs.append(_flag(flagged, known, value if equals else rest.pop(0) if follows else None))
    free = [key for key in known if key not in dict(pairs)]
    if len(words) > len(free):
        raise InputError(f"found {words[len(free)]}, expected a flag before it: {_flags(known)}. {_help(name)}")
    return [*zip(free, words, strict=False), *pairs]


def _flag(key: str, known: Sequence[str], value: str | None) -> tuple[str, str | None]:
    """A flag in full: one letter is the only one that begins so, and --nokeep is --keep false."""
    key = key.replace("-", "_")
    begun = [name for name in known if len(key) == 1 and name[0] == key]
    if value is None and key not in known and key.removeprefix("no") in known:
        return key.removeprefix("no"), "false"
    return (begun[0] if len(begun) == 1 else key), value


def _read(key: str, text: str | None, hint: Any) -> Any:
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    plural = {kind for kind in kinds if get_origin(kind) in _PLURAL}
    if text == "None" and NoneType in kinds and str not in kinds:
        return None
    if bool in kinds:
        return flag("true" if text is None else text, f"--{key}")
    is_text = all(_is_text(part) for kind in kinds - {NoneType} for part in (get_args(kind) or (kind,)))
    if is_text:
        if text is None or not text.strip():
            raise InputError(f"--{key}: found no value, expected one after it, such as --{key} NAME.")
        if plural and (not kinds - plural - {NoneType} or _is_list(text)):
            return [_full(key, one) for one in _listed(text)]
        return _full(key, text)
    value = True if text is None else _literal(text)
    if int in kinds and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not any(_fits(value, kind) for kind in kinds):
        raise InputError(f"--{key}: found {'no value' if text is None else text}, expected {_words(kinds)}.")
    return value


def _full(key: str, text: str) -> str:
    """A text with `~` and `$VAR` replaced; a title may well have a $."""
    from scripts.command.address import expanded

    return text if key == "title" else expanded(text)


def _literal(text: str) -> Any:
    from fire.parser import DefaultParseValue

    return DefaultParseValue(text)


def _listed(text: str) -> list[str]:
    """Texts of a list: ['a', 'b'], [a, b] or a,b."""
    try:
        found = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        found = None
    if isinstance(found, (list, tuple)) and all(isinstance(one, str) for one in found):
        return list(found)
    return [one.strip(" '\"") for one in text.strip("[]() ").split(",") if one.strip()]


def _is_list(text: str) -> bool:
    return text.startswith(("[", "(")) and text.endswith(("]", ")"))


def _is_text(kind: Any) -> bool:
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return all(part in (str, Path, ...) or get_origin(part) is os.PathLike or part is os.PathLike for part in parts)


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if get_origin(kind) in _PLURAL:
        return isinstance(value, (list, tuple)) and all(_fits(one, get_args(kind)[0]) for one in value)
    return kind is Any or isinstance(value, kind)


def _words(kinds: set[Any]) -> str:
    names = {int: "a whole number", float: "a number", str: "a text"}
    found = [names[kind] for kind in names if kind in kinds]
    return " or ".join(found or ["numbers with commas between them, such as 1,2,3"])


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _help(name: str) -> str:
    return f"`python -m {name} --help` explains them."
