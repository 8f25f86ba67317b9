"""What docstrings say, as text for a page: their first sentence, and a sentence or two for each argument."""

from __future__ import annotations

import inspect
import re
from typing import Any

SECTION = r"^(Args|Attributes|Returns|Raises|Yields|Examples?)::?$"


def summary(thing: Any) -> str:
    """Return the first sentence of a docstring, in Markdown; "" where there is none of its own."""
    text = thing.__doc__ or ""
    paragraph = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return plain(first_sentence(paragraph))


def paragraphs(thing: Any) -> str:
    """Return what stands before the sections of a docstring."""
    lines = inspect.getdoc(thing).splitlines() if inspect.getdoc(thing) else []
    end = next((number for number, line in enumerate(lines) if re.match(SECTION, line)), len(lines))
    return plain("\n".join(lines[:end]).strip())


def arguments(thing: Any) -> dict[str, str]:
    """Return what a docstring says of each argument, by name."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if head := re.match(SECTION, line):
            section = head[1]
        elif section in ("Args", "Attributes"):
            if entry := re.match(r"^    \*{0,2}(\w+(?:, \w+)*)(?: \([^)]*\))?: (.*)", line):
                texts = [entry[2]]
                found |= {name: texts for name in entry[1].split(", ")}
            elif found and line.startswith("     "):
                list(found.values())[-1].append(line.strip())
    return {name: plain(" ".join(texts)) for name, texts in found.items()}


def first_sentence(text: str) -> str:
    """Return a text up to its first full stop that a sentence follows."""
    return re.split(r"(?<=[.?])\s+(?=[A-Z`\"(])|::(?=\s|$)", text, maxsplit=1)[0]


def plain(text: str) -> str:
    """Return a text of a docstring in Markdown: roles and doubled quotes of code become `code`."""
    return re.sub(r":\w+:`[~.]?([^`]*)`", r"`\1`", text).replace("``", "`")


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table: begun with a capital letter, in one line."""
    line = " ".join(text.split()).replace("|", r"\|")
    return line[:1].upper() + line[1:] if re.match(r"[a-z]+\b(?![.:,_=`(])", line) else line


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
