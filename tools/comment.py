"""The comments of a configuration, by the keys that they stand above or behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from scripts.check.tree import SEPARATOR

SECTION = re.compile(r"^# ---- (.*?) -*$")


class Config:
    """A configuration with the comments of its keys.

    Args:
        path: the YAML file.
    """

    def __init__(self, path: Path) -> None:
        self.text = path.read_text()
        self.lines = self.text.splitlines()
        self.content: dict[str, Any] = yaml.safe_load(self.text)
        self.comments: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        self._read(yaml.compose(self.text, Loader=yaml.SafeLoader), "", -1)

    def head(self) -> str:
        """Return the comment that a file begins with, without its example commands."""
        lines = []
        for line in self.lines:
            if not line.startswith("# ") or SECTION.match(line):
                break
            lines.append(line[2:])
        return " ".join(line for line in lines if not line.startswith(" "))

    def _read(self, node: yaml.Node, above: str, line_above: int) -> None:
        """Find the comment of each key, and the section of each key at the top."""
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            line = key.start_mark.line
            name = f"{above}{SEPARATOR}{key.value}" if above else key.value
            if line != line_above:
                self.comments[name] = self._behind(value) or self._before(line)
            if not above:
                self.sections[name] = self._section(line)
            self._read(value, name, line)

    def _before(self, line: int) -> str:
        found: list[str] = []
        while line > 0 and (text := self.lines[line - 1].strip()).startswith("# ") and not SECTION.match(text):
            found.insert(0, text[2:])
            line -= 1
        return "" if line == 0 else " ".join(found)

    def _behind(self, value: yaml.Node) -> str:
        if isinstance(value, yaml.CollectionNode) and not value.flow_style:
            return ""
        rest = self.lines[value.end_mark.line][value.end_mark.column :].strip() if value.end_mark.column else ""
        return rest.removeprefix("# ") if rest.startswith("# ") else ""

    def _section(self, line: int) -> str:
        above = (SECTION.match(text) for text in reversed(self.lines[:line]))
        return next((found[1] for found in above if found), "")
