"""The page of all keys: comments of the configurations, ranges of scripts.check and docstrings of the classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from monai.utils.module import locate
from scripts.check.merge import Merged
from scripts.check.range import OPTIONS
from scripts.check.schema import config_schema
from scripts.check.source import shipped
from scripts.check.tree import SEPARATOR, child, is_component, parent, walk

from comment import Config
from docstring import arguments, cell, summary, table

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
LONG = 130
"""Letters of an expression that a table still shows."""
WIRING, SHARED = "wiring", "shared with train.yaml"
TITLES = {
    "what to read and where to write: any key can be given on the command line": "what to read and where to write"
}
INTRODUCTION = """\
Every key can be given on the command line: `--max_iterations 6000`, and in a group `--density#prob 0.9`. In a file of
your own a key of a group is written `density::prob: 0.9`. `scripts.check` compares keys and values with this page's
ranges. Defaults that begin with `$` are calculated, and `@key` stands for the value of another key.
"""


class Keys:
    """The rows of a base.

    Args:
        base: train or inference.
    """

    def __init__(self, base: str) -> None:
        self.base, self.config = base, Config(CONFIGS / f"{base}.yaml")
        source = shipped(base)
        self.silent: list[str] = []
        self.schema = config_schema(Merged([source], {}), source.content, ())
        self.used = {
            value[1:]: (str(above["_target_"]), name)
            for key, above in [*walk(self.config.content)]
            if isinstance(above, dict)
            for name, value in above.items()
            if is_component(above) and isinstance(value, str) and re.fullmatch(r"@\w+", value)
        }

    def sections(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the sections of the file with the keys at the top that they hold."""
        names = dict.fromkeys(self.config.sections.values())
        for name in names:
            if name:
                yield name, [key for key, section in self.config.sections.items() if section == name]

    def rows(self, key: str) -> Iterator[list[str]]:
        """Yield a row for a key, and for each that it holds: name, default, range, meaning."""
        value, schema = child(self.config.content, key), self._schema(key)
        yield [f"`{key}`", default(value), schema.get("description", ""), self.meaning(key)]
        if isinstance(value, dict):
            target = str(value.get("_target_", ""))
            known = schema.get("properties", {}) if target.startswith("scripts.") else value
            for name in known:
                if name != "_target_":
                    yield from self._inner(f"{key}{SEPARATOR}{name}", target)

    def _inner(self, key: str, target: str) -> Iterator[list[str]]:
        """A key that the file has, or an argument of a class that it leaves out."""
        name = key.rpartition(SEPARATOR)[2]
        if name in child(self.config.content, parent(key)):
            yield from self.rows(key)
            return
        found = taken(target).get(name, inspect.Parameter.empty)
        if isinstance(found, str | int | float | list | tuple | dict | None):  # a function is no key of YAML
            yield [f"`{key}`", default(found), self._schema(key).get("description", ""), self.meaning(key)]

    def wiring(self, key: str) -> list[str]:
        """Return the row of a key that is no setting: name, what it is, meaning, arguments that the file leaves out."""
        value, schema = child(self.config.content, key), self._schema(key)
        given = value if isinstance(value, dict) else {}
        left = [name for name in schema.get("properties", {}) if name not in given] if is_component(value) else []
        return [f"`{key}`", default(value), self.meaning(key), ", ".join(f"`{name}`" for name in left)]

    def meaning(self, key: str) -> str:
        """Return what a key means: its comment, or the docstring of what takes it; note it where neither says it."""
        above, _, name = key.rpartition(SEPARATOR)
        holder = child(self.config.content, above) if above else None
        target = str(holder.get("_target_", OPTIONS.get(above, ""))) if isinstance(holder, dict) else ""
        value = child(self.config.content, key)
        said = (
            self.config.comments.get(key)
            or (explained(target).get(name) if target else None)
            or (summary(locate(value["_target_"])) if is_ours(value) else None)
            or (explained(self.used[key][0]).get(self.used[key][1]) if key in self.used else None)
            or (summary(locate(OPTIONS[option])) if (option := _option(key)) in OPTIONS else None)
            or self._plain(key, value)
        )
        if said is None:
            self.silent.append(key)
        text = cell(said or "")
        return f"{text}." if text[-1:].isalnum() else text

    def _plain(self, key: str, value: Any) -> str | None:
        """What needs no sentence: wiring, and keys of a group that has one."""
        group = key.partition(SEPARATOR)[0]
        is_wired = self.config.sections.get(group) == WIRING
        return "" if is_wired or is_component(value) or (group != key and self.config.comments.get(group)) else None

    def _schema(self, key: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.schema
        for name in key.split(SEPARATOR):
            found = found.get("properties", {}).get(name, {})
        return found


def page() -> str:
    """Return the page in Markdown."""
    parts = ["# Keys of the configurations\n", INTRODUCTION]
    for base in ("train", "inference"):
        keys = Keys(base)
        parts.append(f"## {base}.yaml\n\n{cell(keys.config.head())}\n")
        for section, names in keys.sections():
            parts.append(
                f"### {base}.yaml: {TITLES.get(section, section).removesuffix(' (a test keeps them equal)')}\n"
            )
            parts.append(_section_of(keys, section, names))
        if keys.silent:
            names = ", ".join(keys.silent)
            raise SystemExit(
                f"configs/{base}.yaml: no comment says what {names} means. Write one above or behind the key."
            )
    parts.append("## Overlays\n\nAn overlay follows its base and changes some of its keys.\n")
    parts += [_overlay(path) for path in sorted(CONFIGS.glob("*.yaml")) if path.stem not in ("train", "inference")]
    return "\n".join(parts)


def _section_of(keys: Keys, section: str, names: list[str]) -> str:
    if section.startswith(SHARED):
        return "The keys that [train.yaml](#trainyaml-shared-with-inferenceyaml) has as well.\n"
    if section != WIRING:
        rows = [row for name in names for row in keys.rows(name)]
        return table(["key", "default", "type and range", "meaning"], rows)
    inner = (f"{name}{SEPARATOR}{part}" for name in names for part in _parts(keys.config.content[name]))
    rows = [keys.wiring(key.removesuffix(SEPARATOR)) for key in inner]
    return table(["key", "what it is", "meaning", "further arguments"], rows)


def _parts(value: Any) -> list[str]:
    """The keys of a group such as train; "" alone where a value is one thing."""
    return list(value) if isinstance(value, dict) and not is_component(value) else [""]


def _overlay(path: Path) -> str:
    """The section of an overlay: what it is for, and its keys."""
    config = Config(path)
    bases = " and ".join(f"{base}.yaml" for base in config.content["overlay_on"])
    rows = [
        [f"`{key}`", default(value), cell(config.comments.get(key, ""))]
        for key, value in config.content.items()
        if key not in ("overlay_on", "initialize")
    ]
    return f"### {path.name}\n\nOver {bases}. {cell(config.head())}\n\n{table(['key', 'value', 'meaning'], rows)}"


def default(value: Any) -> str:
    """Return a value as a cell: literals and expressions as code, definitions by their class."""
    value = list(value) if isinstance(value, tuple) else value
    if is_component(value):
        return f"`{value['_target_']}`"
    if isinstance(value, list) and any(map(is_component, value)):
        return ", ".join(default(one) for one in value)
    if isinstance(value, dict):
        return (
            "keys and values"
            if any(isinstance(one, dict) for one in value.values()) or len(value) > 3
            else _code(value)
        )
    return _code(value)


def _code(value: Any) -> str:
    text = (
        yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip()
    )
    if isinstance(value, str):
        text = value or '""'
    if len(text) > LONG:
        return "see the file"
    fence = "``" if "`" in text else "`"
    return f"{fence}{' '.join(text.split())}{fence}".replace("|", r"\|")


def is_ours(value: Any) -> bool:
    """Return whether a value defines an object of the bundle's own."""
    return is_component(value) and str(value["_target_"]).startswith("scripts.")


def explained(target: str) -> dict[str, str]:
    """Return what the docstrings say of the arguments of a class or function of the bundle."""
    if not target.startswith("scripts."):
        return {}
    found = locate(target)
    parts = [getattr(found, "decode", None), getattr(found, "__init__", None), found]
    texts: dict[str, str] = {}
    for part in parts:
        texts |= arguments(part) if part is not None else {}
    return texts


def taken(target: str) -> dict[str, Any]:
    """Return the defaults of what a class takes, those of its watershed among them; `empty` where there is none."""
    found = locate(target)
    functions = [function for function in (found, getattr(found, "decode", None)) if callable(function)]
    return {
        name: parameter.default for one in functions for name, parameter in inspect.signature(one).parameters.items()
    }


def _option(key: str) -> str:
    """The id under which `scripts.check` knows the class of a random transform."""
    return key.replace("augmentation::", "random_transforms::amounts::", 1) if key.startswith("augmentation::") else ""
