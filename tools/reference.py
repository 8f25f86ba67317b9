"""Writes bundle/docs/reference/ from the sources: keys, commands, files and Python. `make reference` starts it.

    .venv/bin/python tools/reference.py
    .venv/bin/python tools/reference.py --check

Comments of the configurations and docstrings are what the pages say, so a page is changed there. With `--check` nothing
is written, and the exit status is 1 where a page is not current.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
FOLDER = BUNDLE / "docs" / "reference"
sys.path[:0] = [path for path in (str(BUNDLE), str(Path(__file__).parent)) if path not in sys.path]

import key  # noqa: E402
import product  # noqa: E402
from docstring import arguments, cell, paragraphs, summary, table  # noqa: E402

NOTE = "<!-- Written by `make reference` from the sources: change comments and docstrings there. -->\n\n"
ROOMS = ("adapt", "volume_io", "watershed", "metrics", "match_domains", "classical", "judge", "predictor", "inferer")
ROOMS += ("representation", "networks", "transforms", "dataset", "trainer", "checkpoint", "handlers", "plan", "report")
ROOMS += ("compare", "export", "example", "convert_checkpoint", "component")
"""Rooms whose names users may import, in the order of a task; the others serve the commands."""
STATUSES = """\
Every command takes `--help`. It ends with status 0, with 1 after one line that names what is wrong, with 75 if it was
stopped or waits for other shards (give the same command again), with 130 after a second Ctrl-C, and with 141 if nobody
reads its output. Further flags are the keys of [KEYS.md](KEYS.md), where a command has a line for them.
"""
TYPES = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false", "Volumes": "volumes"}
TYPES |= {"Sequence[float]": "numbers a,b,c", "Sequence[int]": "whole numbers a,b,c", "Sequence[str]": "a,b,c"}
TYPES |= {"Sizes": "numbers a,b,c", "VoxelSize": "numbers a,b,c", "Files": "file or a,b,c", "Path": "text"}


def main(words: list[str]) -> None:
    """Write the pages, or say which of them are not current."""
    made = pages()
    stale = [name for name, text in made.items() if not _is(FOLDER / name, text)]
    if "--check" in words:
        sys.exit(f"not current: {', '.join(stale)}. Run `make reference`." if stale else 0)
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(made[name])
    print(f"written: {', '.join(stale) or 'nothing, all pages are current'}")


def pages() -> dict[str, str]:
    """Return the pages by the names of their files."""
    makers: dict[str, Callable[[], str]] = {
        "KEYS.md": key.page,
        "COMMANDS.md": commands,
        "FILES.md": product.page,
        "PYTHON.md": python,
    }
    return {name: NOTE + make().replace(f"{BUNDLE}/", "") for name, make in makers.items()}


def commands() -> str:
    """Return the page of all commands with their flags."""
    parts = ["# Commands\n", STATUSES]
    parts += [_command(module, function) for module, function in mains()]
    return "\n".join(parts)


def mains() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each module that can be started, with the function that its command line calls."""
    for path in sorted((BUNDLE / "scripts").rglob("*.py")):
        if found := re.search(r"^    start\((\w+)\)$", path.read_text(), re.M):
            name = ".".join(path.relative_to(BUNDLE).with_suffix("").parts)
            yield name.removesuffix(".__main__"), getattr(importlib.import_module(name), found[1])


def _command(module: str, function: Callable[..., Any]) -> str:
    texts = arguments(function)
    rows = [_flag(parameter, texts) for parameter in inspect.signature(function).parameters.values()]
    return f"## python -m {module}\n\n{paragraphs(function)}\n\n{table(['flag', 'type', 'default', 'meaning'], rows)}"


def _flag(parameter: inspect.Parameter, texts: Mapping[str, str]) -> list[str]:
    is_any = parameter.kind is parameter.VAR_KEYWORD
    name = "`--…`" if is_any else f"`--{parameter.name}`"
    missing = parameter.default is parameter.empty
    default = "" if is_any else "needed" if missing else _shown(parameter.default)
    return [name, "" if is_any else kind(parameter.annotation), default, cell(texts.get(parameter.name, ""))]


def kind(annotation: Any) -> str:
    """Return a type for people; `annotation` is as it stands in the source."""
    parts = [part.strip() for part in str(annotation).split("|") if part.strip() != "None"]
    if "bool" in parts:
        return "true or false"
    return " or ".join(dict.fromkeys(TYPES.get(part, part) for part in parts))


def _shown(default: Any) -> str:
    if default is None or default in ((), ""):
        return ""
    listed = default if isinstance(default, tuple) else [default]
    text = ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in listed)
    return f"`{text.lower() if isinstance(default, bool) else text}`"


def python() -> str:
    """Return the page of what can be imported."""
    introduction = (
        "# Python\n\nWith the bundle's folder on the path. Each line has the first sentence of a docstring. "
        "`help()` prints the rest.\n"
    )
    return "\n".join([introduction, *(_room(importlib.import_module(f"scripts.{room}")) for room in ROOMS)])


def _room(module: ModuleType) -> str:
    names = [name for name in module.__all__ if callable(getattr(module, name)) and name != "main"]
    things = {name: getattr(module, name) for name in names}
    rows = [[f"`{name}{signature(thing)}`", cell(summary(thing))] for name, thing in things.items()]
    return f"## {module.__name__}\n\n{cell(summary(module))}\n\n{table(['name', 'what it is or does'], rows)}"


def signature(thing: Any) -> str:
    """Return the names of the arguments with their defaults; types are left to `help()`."""
    found = inspect.signature(thing)
    bare = [_bare(parameter) for parameter in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=found.empty)).replace("|", r"\|")


class _Shown:
    """A default as it is shown in a signature."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter without its type. A default that has no short form in the source is left out."""
    value = str(parameter.default) if isinstance(parameter.default, Path) else parameter.default
    if value is not parameter.empty:
        parts = value if isinstance(value, tuple) else [value]
        is_plain = all(isinstance(one, str | int | float | None) for one in parts)
        value = _Shown(repr(value) if is_plain else "…")
    return parameter.replace(annotation=parameter.empty, default=value)


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


if __name__ == "__main__":
    main(sys.argv[1:])
