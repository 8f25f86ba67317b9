"""Values of a configuration without making any object: references followed, arithmetic done, all else unknown."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from scripts.check.tree import REFERENCE, child, is_component, normal, references

__all__ = ["MAPS", "UNKNOWN", "Values"]

UNKNOWN = object()
"""What cannot be told without the modules that the configuration names."""

MAPS: dict[str, tuple[str, int]] = {
    "scripts.representation.Foreground": ("foreground", 1),
    "scripts.representation.Contour": ("contour", 1),
    "scripts.representation.SignedDistance": ("distance", 1),
    "scripts.representation.Affinity": ("affinity", 3),
}
"""Name and channels of each map; affinities with `offsets` have one for each. A test compares the classes."""

_FUNCTIONS: dict[str, Any] = {
    **{f.__name__: f for f in (int, float, round, max, min, abs, len, sum, zip, range, list, tuple, str, bool, sorted)},
    "math": math,
}
_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
    *(ast.IfExp, ast.Call, ast.List, ast.Tuple, ast.ListComp, ast.comprehension),
)
_ATTRIBUTES = {"channels", "names", "channel_names", "ceil", "floor", "gcd", "prod", "sqrt", "log", "log2", "pi"}


class Values:
    """Looks values up in a merged configuration, each worked out once.

    Args:
        config: the configuration.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        """Return the value of an id, `UNKNOWN` where it cannot be told or is not there."""
        if key not in self._known:
            self._known[key] = UNKNOWN  # what refers to itself stays that
            self._known[key] = self.of(child(self.config, key, UNKNOWN))
        return self._known[key]

    def of(self, value: Any) -> Any:
        """Return what a piece of configuration stands for, or `UNKNOWN`."""
        if is_component(value):
            return self._representation(value)
        if isinstance(value, Mapping):
            parts = {name: self.of(part) for name, part in value.items()}
            return UNKNOWN if any(part is UNKNOWN for part in parts.values()) else parts
        if isinstance(value, (list, tuple)):
            items = [self.of(part) for part in value]
            return UNKNOWN if any(part is UNKNOWN for part in items) else items
        if isinstance(value, str):
            return self._text(value)
        return value if value is None or isinstance(value, (bool, int, float)) else UNKNOWN

    def literal(self, value: Any) -> Any:
        """Return a piece of configuration with its values worked out; definitions stay, and `UNKNOWN` is within it."""
        if isinstance(value, Mapping):
            return {str(name): self.literal(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.literal(part) for part in value]
        found = self.of(value)
        return found if isinstance(found, str | int | float | bool | list | dict | None) else UNKNOWN

    def maps(self) -> tuple[Sequence[str], int] | None:
        """Return names and number of channels of the maps to learn, None where a map is none of ours."""
        found = self["representation"]
        return None if found is UNKNOWN else (found.names, found.channels)

    def _text(self, text: str) -> Any:
        if text.startswith("$"):
            return self._expression(text[1:])
        if text.startswith("%"):
            return UNKNOWN
        names = references(text)
        return self[names[0]] if names else text

    def _expression(self, text: str) -> Any:
        given: dict[str, Any] = {}

        def take(match: Any) -> str:
            given[name := f"reference_{len(given)}"] = self[normal(match[1])]
            return name

        try:
            tree = ast.parse(REFERENCE.sub(take, text).strip(), mode="eval")
            if any(value is UNKNOWN for value in given.values()) or not _is_arithmetic(tree, given):
                return UNKNOWN
            return eval(compile(tree, "configuration", "eval"), {"__builtins__": {}, **_FUNCTIONS, **given})
        except Exception:  # whatever it is, the run itself says it, with its own words
            return UNKNOWN

    def _representation(self, definition: Mapping[str, Any]) -> Any:
        maps = definition.get("maps")
        if definition["_target_"] != "scripts.representation.Representation" or not isinstance(maps, list):
            return UNKNOWN
        found = [self._map(one) for one in maps]
        if None in found:
            return UNKNOWN
        names, channels = [one[0] for one in found if one], [one[1] for one in found if one]
        return SimpleNamespace(names=names, channels=sum(channels))

    def _map(self, definition: Any) -> tuple[str, int] | None:
        if not is_component(definition) or definition["_target_"] not in MAPS:
            return None
        name, channels = MAPS[definition["_target_"]]
        if "offsets" not in definition:
            return name, channels
        offsets = self.of(definition["offsets"])
        return (name, len(offsets)) if isinstance(offsets, list) else None


def _is_arithmetic(tree: ast.AST, given: Mapping[str, Any]) -> bool:
    """Whether an expression has nothing in it that could do anything but calculate."""
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return all(
        isinstance(node, _NODES)
        and (not isinstance(node, ast.Name) or node.id in own or node.id in given or node.id in _FUNCTIONS)
        and (not isinstance(node, ast.Attribute) or node.attr in _ATTRIBUTES)
        for node in ast.walk(tree)
    )
