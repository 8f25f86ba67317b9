"""A JSON schema of a configuration: constructors' signatures, the defaults of the base and the table of ranges.

`jsonschema` compares the values; here its errors become one problem for each id, told where the value stands.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from scripts.check.merge import Merged
from scripts.check.problem import Problem, closest, shown
from scripts.check.range import AMOUNTS, FLAG, ITEMS, OPTIONS, Schema, number, range_of, text, whole
from scripts.check.signature import arguments
from scripts.check.tree import SEPARATOR, child, is_component, parent, references, referred, walk
from scripts.check.value import UNKNOWN, Values
from scripts.command.argument import PATHS

__all__ = ["config_schema", "disagreements", "follows"]

# Made by one definition in the base; an overlay may list the transforms.
_LISTS = ("source_transforms", "target_transforms")
_DEFINITION: Schema = {"type": ["object", "null"], "description": "a definition, with _target_, or null"}
_MAPPING: Schema = {"type": "object", "description": "keys and values"}
_TYPES: dict[type, Schema] = {bool: FLAG, int: whole(), float: number(), str: text(), dict: _MAPPING}
_TYPES[list] = {"type": "array", "description": "a list"}


def config_schema(merged: Merged, base: Mapping[str, Any], allowed: Collection[str]) -> Schema:
    """Return the JSON schema that a merged configuration should follow.

    Args:
        merged: the configuration.
        base: that it builds on, as shipped.
        allowed: further keys at the top.
    """
    content = {name: value for name, value in merged.config.items() if name != "_meta_"}
    return _Builder(referred(content), Values(base), allowed).mapping("", content, base, "")


class _Builder:
    """Goes through a configuration and its base together; `component` is the class that an id is an argument of."""

    def __init__(self, used: Collection[str], defaults: Values, allowed: Collection[str]) -> None:
        self.used, self.defaults, self.allowed = used, defaults, allowed

    def node(self, key: str, here: Any, there: Any, component: str = "") -> Schema:
        """Return the schema of an id; `there` is what the base has."""
        if is_component(here):
            return self._component(key, here, there if is_component(there) else {})
        if isinstance(here, dict) and key in OPTIONS:
            return self._component(key, {"_target_": OPTIONS[key], **here}, {})
        if isinstance(here, dict) and key == AMOUNTS:
            names = dict.fromkeys(one.rpartition(SEPARATOR)[2] for one in OPTIONS if parent(one) == key)
            return self.mapping(key, here, names, "")
        if (schema := range_of(key)) and (schema is ITEMS or component.startswith("scripts.") or not component):
            return schema
        if is_component(there) and not (isinstance(here, list) and key in _LISTS):
            return _DEFINITION
        if isinstance(here, dict) and (there is None or isinstance(there, dict)):
            return self.mapping(key, here, there, component)
        if isinstance(here, list) and any(map(is_component, here)):
            items = [self.node(f"{key}::{place}", item, None, "list") for place, item in enumerate(here)]
            return {**_TYPES[list], "prefixItems": items}
        kind = type(there) if isinstance(there, dict | list) else type(self.defaults[key])
        return {} if component else _TYPES.get(kind, {})

    def _component(self, key: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Schema:
        target = str(here["_target_"])
        taken = arguments(target)
        parts = {name: self.node(f"{key}::{name}", value, there.get(name), target) for name, value in here.items()}
        if taken is None:
            return {"type": "object", "properties": parts}
        known = {name: parts.get(name) or schema for name, schema in taken.items()}
        own = {"additionalProperties": False, "patternProperties": {"^_": {}}, "class": target}
        return {"type": "object", "properties": known, **own}

    def mapping(self, key: str, here: Mapping[str, Any], there: Mapping[str, Any] | None, component: str) -> Schema:
        """Return the schema of keys and values; beside what the base has, only what something refers to is known."""
        parts, unknown = {}, set()
        for name, value in here.items():
            inner = f"{key}::{name}" if key else str(name)
            parts[str(name)] = self.node(inner, value, (there or {}).get(name), component)
            if not (name in (there or {}) or (not key and name in self.allowed) or self._is_used(inner)):
                unknown.add(str(name))
        if component or there is None:
            return {"type": "object", "properties": parts}
        known = {str(name): parts.get(str(name), {}) for name in (*there, *here) if str(name) not in unknown}
        return {"type": "object", "properties": known, "additionalProperties": False}

    def _is_used(self, key: str) -> bool:
        return any(f"{name}::".startswith(f"{key}::") for name in self.used)


def disagreements(merged: Merged, values: Values, schema: Schema, base: Mapping[str, Any]) -> Iterator[Problem]:
    """Find unknown keys and arguments, and values that are not as expected.

    A value that comes from a wrong one is left out: the wrong one is reported.
    """
    instance = values.literal({name: part for name, part in merged.config.items() if name != "_meta_"})
    wrong: dict[str, Schema] = {}
    for error in _Validator(schema).iter_errors(instance):
        if error.validator == "additionalProperties":
            yield from _unknown(merged, error, [name for name, _ in walk(base)])
        else:
            key, expected = _described(schema, error.absolute_path)
            wrong[key] = expected
    for key, expected in wrong.items():
        found = child(merged.config, key)
        if not any(_holds(wrong, name) for name in references(found)):
            value = values[key]
            words = expected["description"]
            yield Problem(merged.place(key), key, _told(found, value), words, _advice(key, value))


def follows(value: Any, schema: Schema) -> bool:
    """Return whether a value is known and follows a schema."""
    return value is not UNKNOWN and bool(_Validator(schema).is_valid(value))


def _described(schema: Schema, path: Iterable[str | int]) -> tuple[str, Schema]:
    """The id that holds the place of an error, and what is expected of it. A list is reported once as a whole."""
    names, found = [], schema
    for part in path:
        if isinstance(part, str) and part in found.get("properties", ()):
            found = found["properties"][part]
        elif isinstance(part, int) and part < len(found.get("prefixItems", ())):
            found = found["prefixItems"][part]
        else:
            break
        names.append(str(part))
    return SEPARATOR.join(names), found


def _unknown(merged: Merged, error: ValidationError, ids: list[str]) -> Iterator[Problem]:
    above = SEPARATOR.join(map(str, error.absolute_path))
    target, known = error.schema.get("class"), list(error.schema["properties"])
    for name in error.instance:
        if name in known or (target and name.startswith("_")):
            continue
        key = f"{above}{SEPARATOR}{name}" if above else name
        if target:
            advice = closest(name, known) or f"It takes {', '.join(known) or 'none'}."
            found = shown(child(merged.config, key))
            yield Problem(merged.place(key), key, found, f"an argument of {target}", advice)
        else:
            siblings = [one for one in ids if parent(one) == above] if above else ids
            expected = f"a known one{f' of {above}' if above else ''}: nothing refers to it, so it has no effect"
            yield Problem(merged.place(key), key, "an unknown key", expected, closest(key, siblings))


def _holds(wrong: Collection[str], name: str) -> bool:
    """Whether an id, a part of it or what it is a part of is wrong."""
    return any(f"{one}::".startswith(f"{name}::") or f"{name}::".startswith(f"{one}::") for one in wrong)


def _told(found: Any, value: Any) -> str:
    """A value, and what it was worked out from."""
    return shown(found) if value is UNKNOWN or found == value else f"{shown(value)} ({found})"


def _advice(key: str, value: Any) -> str:
    if key in PATHS and not isinstance(value, str | list):
        return "A name that is read as a number needs ./ before it."
    try:
        return f"Write {float(value)!r}: YAML takes it for a text." if isinstance(value, str) else ""
    except ValueError:
        return ""


def _ascending(validator: Any, wanted: bool, value: Any, schema: Schema) -> Iterator[ValidationError]:
    """The keyword `ascending`: of two numbers the first is lower."""
    numbers = isinstance(value, list) and all(isinstance(one, int | float) for one in value)
    if numbers and len(value) == 2 and not value[0] < value[1]:
        yield ValidationError("not ascending")


def _if_known(check: Any) -> Any:
    """A keyword that accepts what cannot be told without the modules that the configuration names."""

    def checked(validator: Any, wanted: Any, value: Any, schema: Schema) -> Iterator[ValidationError]:
        if value is not UNKNOWN:
            yield from check(validator, wanted, value, schema) or ()

    return checked


def _is_number(checker: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KEYWORDS = {name: _if_known(check) for name, check in Draft202012Validator.VALIDATORS.items()}
# In JSON 2.0 is a whole number and NaN is none; to a network's constructor neither is.
_CHECKER = Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_whole})
_Validator = extend(Draft202012Validator, {**_KEYWORDS, "ascending": _if_known(_ascending)}, type_checker=_CHECKER)
