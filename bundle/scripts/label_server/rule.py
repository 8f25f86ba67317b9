"""What a request to the label server may contain: texts that nothing evaluates, and known keys with their types.

MONAI Label writes what a client sends into MONAI configs. There a text that begins with `$` is a program, one with `@`
or `%` a reference, and `_target_` names what to call.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "NAME",
    "Judge",
    "RefusedError",
    "check_text",
    "flag",
    "listed",
    "matching",
    "number",
    "one_of",
    "parse_json",
    "table",
    "text",
    "whole",
]

Judge = Callable[[Any, str], None]
"""Raises `RefusedError` where a value, given with its name for the message, is not as expected."""
NAME = r"\w(?:[\w .()+,=-]*[\w)])?"
"""A name that is no path, no reference and no program; `..` is refused besides."""
_DEEPEST, _LONGEST = 16, 4096
_RESERVED = re.compile(r"_\w*_")


class RefusedError(Exception):
    """A request that the server does not work on.

    Args:
        status: of HTTP.
        detail: one line for the client.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def check_text(value: Any, name: str, depth: int = 0) -> None:
    """See that no text of a value, at any depth, key or not, could be evaluated.

    Raises:
        RefusedError: one could; or it is nested too deeply.
    """
    if depth > _DEEPEST:
        raise RefusedError(400, f"{name}: nested too deeply.")
    if isinstance(value, str):
        _check_one(value, name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_text(key, f"{name}, a key", depth)
            check_text(item, f"{name}: {shown(key)}", depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_text(item, name, depth + 1)


def parse_json(content: str | bytes, name: str) -> dict[str, Any]:
    """Return an object of JSON in which no key is double, no number infinite and no text evaluated.

    Raises:
        RefusedError: it is none.
    """
    try:
        value = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"{name}: expected a JSON object ({type(error).__name__}: {error}).") from error
    if not isinstance(value, dict):
        raise RefusedError(400, f"{name}: expected a JSON object, found {type(value).__name__}.")
    check_text(value, name)
    return value


def shown(value: Any) -> str:
    """Return a value in one short line."""
    line = repr(value)
    return line if len(line) < 60 else f"{line[:56]}…{line[-1]}"


def flag(value: Any, name: str) -> None:
    """Judge true or false."""
    _expect(isinstance(value, bool), value, name, "true or false")


def whole(low: int, high: int) -> Judge:
    """Return the judge of an integer from `low` to `high`."""

    def judge(value: Any, name: str) -> None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        _expect(fits, value, name, f"an integer from {low} to {high}")

    return judge


def number(low: float, high: float) -> Judge:
    """Return the judge of a number from `low` to `high`."""

    def judge(value: Any, name: str) -> None:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = fits and math.isfinite(value) and low <= value <= high
        _expect(fits, value, name, f"a number from {low:g} to {high:g}")

    return judge


def one_of(*values: Any) -> Judge:
    """Return the judge of some texts, or None."""

    def judge(value: Any, name: str) -> None:
        _expect(value is None or isinstance(value, str), value, name, "a text")
        _expect(value in values, value, name, f"one of {', '.join(map(repr, values))}")

    return judge


def matching(pattern: str, what: str) -> Judge:
    """Return the judge of texts that match a pattern and have no `..` in them."""
    compiled = re.compile(pattern)

    def judge(value: Any, name: str) -> None:
        fits = isinstance(value, str) and len(value) <= 200 and ".." not in value
        _expect(fits and compiled.fullmatch(value) is not None, value, name, what)

    return judge


def text(value: Any, name: str) -> None:
    """Judge any text that is not too long; `check_text` has seen it."""
    _expect(isinstance(value, str) and len(value) <= _LONGEST, value, name, f"a text of up to {_LONGEST} characters")


def listed(judge: Judge, longest: int = 1000) -> Judge:
    """Return the judge of a list whose items another one judges."""

    def judge_all(value: Any, name: str) -> None:
        _expect(isinstance(value, list) and len(value) <= longest, value, name, f"a list of up to {longest} items")
        for item in value:
            judge(item, name)

    return judge_all


def table(keys: Mapping[str, Judge]) -> Judge:
    """Return the judge of an object that has no other keys than these."""

    def judge(value: Any, name: str) -> None:
        _expect(isinstance(value, dict), value, name, "an object")
        for key, item in value.items():
            if key not in keys:
                raise RefusedError(
                    400, f"{name}: unknown key {shown(key)}. Known: {', '.join(sorted(keys)) or 'none'}."
                )
            keys[key](item, f"{name}: {key}")

    return judge


def _check_one(value: str, name: str) -> None:
    if value.strip("\ufeff \t\r\n\v\f").strip().startswith(("$", "@", "%")):
        raise RefusedError(400, f"{name}: {shown(value)} begins with $, @ or %, which configurations evaluate.")
    if "_target_" in value or any(map(_RESERVED.fullmatch, re.split(r"#|::", value))):
        raise RefusedError(400, f"{name}: {shown(value)} has a meaning in configurations.")
    if any(ord(sign) < 32 and sign not in "\t\r\n" for sign in value):
        raise RefusedError(400, f"{name}: {shown(value)} has control characters.")


def _expect(fits: bool, value: Any, name: str, what: str) -> None:
    if not fits:
        raise RefusedError(400, f"{name}: found {shown(value)}, expected {what}.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)
