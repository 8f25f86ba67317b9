"""Files and overrides merged as MONAI does, so that it is known where each value is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.check.problem import Problem, closest, shown
from scripts.check.source import Source
from scripts.check.tree import SEPARATOR, child, copied, has, normal, parent, subtree, walk

__all__ = ["COMMAND_LINE", "Merged"]

COMMAND_LINE = "command line"


class Merged:
    """Files one over the other, then overrides.

    Args:
        sources: the base first.
        overrides: of the command line.

    Attributes:
        config: the result.
        overridden: ids that the command line sets.
        problems: keys that lead nowhere, and what a later file undoes.
    """

    def __init__(self, sources: Sequence[Source], overrides: Mapping[str, Any]) -> None:
        self.config: dict[str, Any] = {}
        self.overridden: list[str] = []
        self.problems: list[Problem] = []
        self._places: dict[str, tuple[int, str]] = {}
        for number, source in enumerate(sources):
            for key, value in source.content.items():
                self._set(number, source, str(key), value)
        for key, value in overrides.items():
            self._override(len(sources), key, value)

    def place(self, key: str) -> str:
        """Return where an id was set last: a file and a line, or the command line."""
        while key and key not in self._places:
            key = parent(key)
        return self._places[key][1] if key else ""

    def given(self, key: str) -> bool:
        """Return whether an id, or what it lies in, is from the command line."""
        return self.place(key) == COMMAND_LINE

    def _set(self, number: int, source: Source, name: str, value: Any) -> None:
        adds, key = name.startswith("+"), normal(name.lstrip("+"))
        place = f"{source.name}:{source.lines[normal(name)]}" if normal(name) in source.lines else source.name
        value = copied(value)
        if not self._takes(key) or (adds and not has(self.config, key)):
            self.problems.append(self._lost(place, name, key if self._takes(key) else parent(key), adds))
            return
        if adds:
            self._add(number, place, key, value)
            return
        self._refuse_undone(number, source, key)
        self._put(key, value)
        for inner, _ in walk(value, key):
            line = source.lines.get(inner)
            self._places[inner] = (number, f"{source.name}:{line}" if line else place)

    def _add(self, number: int, place: str, key: str, value: Any) -> None:
        there = child(self.config, key)
        if isinstance(there, dict) and isinstance(value, dict):
            added = list(value)
            there.update(value)
        elif isinstance(there, list) and isinstance(value, list):
            added = list(range(len(there), len(there) + len(value)))
            there.extend(value)
        else:
            kind = "a list" if isinstance(there, list) else "keys and values" if isinstance(there, dict) else "no +"
            self.problems.append(Problem(place, f"+{key}", shown(value), f"{kind}, as {key} is"))
            return
        for name in added:
            top = f"{key}{SEPARATOR}{name}"
            self._places.update({inner: (number, place) for inner, _ in walk(child(there, str(name)), top)})

    def _takes(self, key: str) -> bool:
        """Whether an id can be set: what it is a part of is there, a list long enough."""
        above = child(self.config, parent(key))
        return isinstance(above, dict) or (isinstance(above, list) and has(self.config, key))

    def _put(self, key: str, value: Any) -> None:
        for inner in subtree(self._places, key):
            del self._places[inner]
        above, last = child(self.config, parent(key)), key.rpartition(SEPARATOR)[2]
        if isinstance(above, list):
            above[int(last)] = value
        else:
            above[last] = value

    def _override(self, number: int, name: str, value: Any) -> None:
        key = normal(name.lstrip("+"))
        if name.startswith("+"):
            advice = "Put it into a file, an overlay, to add to what is there."
            self.problems.append(Problem(COMMAND_LINE, name, "a +, which here replaces", "a key without it", advice))
        if value is None:
            if child(self.config, key) is not None:
                advice = f"Write --{name} '$None' for none."
                self.problems.append(Problem(COMMAND_LINE, name, "None, which MONAI leaves out", "a value", advice))
        elif self._takes(key):
            self._put(key, copied(value))
            self.overridden.append(key)
            self._places[key] = (number, COMMAND_LINE)
        else:
            self.problems.append(self._lost(COMMAND_LINE, name, parent(key)))

    def _lost(self, place: str, name: str, missing: str, adds: bool = False) -> Problem:
        known = [key for key, _ in walk(self.config)]
        return Problem(
            place,
            name,
            f"no {missing} {'to add to' if adds else 'with such a part'}",
            "a key that is there",
            closest(missing, known),
        )

    def _refuse_undone(self, number: int, source: Source, key: str) -> None:
        """Tell of what an earlier overlay set within what is replaced now."""
        for inner in () if source.last else subtree(self._places, key):
            earlier, place = self._places[inner]
            if inner != key and 0 < earlier < number and self._places.get(parent(inner), (0,))[0] != earlier:
                advice = f"It replaces all of {key}; give it before."
                self.problems.append(Problem(place, inner, f"it set, and undone by {source.name}", "kept", advice))
