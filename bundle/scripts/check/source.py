"""Files of a configuration, read with the line of each key."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from scripts.check.problem import Problem, closest
from scripts.check.tree import SEPARATOR, normal
from scripts.errors import InputError

__all__ = ["BASES", "MARKS", "Source", "arranged", "base_of", "read_source", "shipped"]

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BASES = ("train", "inference")
MARKS = ("overlay_on", "overlay_last")
"""Keys of an overlay that only this check reads; MONAI merges them, and nothing refers to them."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Source(NamedTuple):
    """A file.

    Attributes:
        name: as given.
        content: its keys and values.
        lines: of each id, from 1.
        overlay_on: the bases that its key of this name lists: train, inference; nothing where it has no such key.
        last: whether its key `overlay_last` says that it follows all others, so that it may replace what they set.
    """

    name: str
    content: dict[str, Any]
    lines: dict[str, int]
    overlay_on: tuple[str, ...] = ()
    last: bool = False


def read_source(path: str | Path) -> Source:
    """Read YAML or JSON.

    Raises:
        InputError: no such file, it cannot be read, it is not UTF-8, it is no list of keys and values, or it has a key
            twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a configuration, .yaml or .json. Relative to {Path.cwd()}.")
    text = _text(path)
    try:
        node, content = (None, json.loads(text)) if path.suffix == ".json" else _parsed(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(_told(path, text, error)) from error
    if not isinstance(content or {}, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected keys and values.")
    lines: dict[str, int] = {}
    _find_lines(node, "", lines, path)
    content = content or {}
    bases = content.get("overlay_on", [])
    overlay_on = tuple(str(name).removesuffix(".yaml") for name in (bases if isinstance(bases, list) else [bases]))
    return Source(str(path), content, lines, overlay_on, content.get("overlay_last") is True)


def base_of(config: Mapping[str, Any]) -> str | None:
    """Return which base a configuration is or has in it: train, inference, or None for an overlay alone."""
    if "bundle_root" not in config:
        return None
    return "train" if "training" in config else "inference" if "evaluator" in config else None


@cache
def shipped(base: str) -> Source:
    """Return train.yaml or inference.yaml as they come with the bundle.

    Raises:
        InputError: it is gone.
    """
    return read_source(CONFIGS / f"{base}.yaml")


def _text(path: Path) -> str:
    """The text of a file, which MONAI reads as UTF-8, with or without a mark at its beginning."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig" if path.suffix != ".json" else "utf-8")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        kind = "UTF-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else f"the byte {byte:#04x}"
        raise InputError(
            f"{path}:{line}: found {kind}, expected UTF-8. Save the file as UTF-8 in your editor."
        ) from error


def _told(path: Path, text: str, error: Exception) -> str:
    """What a parser says, with the line first."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    line = mark.line + 1 if mark is not None else getattr(error, "lineno", None)
    lines = text.splitlines()[line - 1 : line] if line else []
    advice = " Indent with spaces, not with tabs." if any("\t" in one for one in lines) else ""
    return f"{path}{'' if line is None else f':{line}'}: cannot be read: {problem}.{advice}"


def _parsed(text: str) -> tuple[Any, Any]:
    """Nodes, which know their lines, and what they stand for."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _find_lines(node: Any, above: str, lines: dict[str, int], path: Path) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _find_lines(value, f"{above}{SEPARATOR}{number}" if above else str(number), lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    for name, value in node.value:
        key = normal(f"{above}{SEPARATOR}{name.value}" if above else str(name.value))
        line = name.start_mark.line + 1
        if key in lines:
            raise InputError(f"{path}:{line}: {key}: found twice, first in line {lines[key]}; expected once.")
        lines[key] = line
        _find_lines(value, key, lines, path)


def arranged(sources: Sequence[Source]) -> tuple[list[Source], str, list[Problem]]:
    """Return the files as they should be given, the name of their base, and what is wrong with their order.

    The check continues with files in the right order, so that one run shows all problems. Later files win, so a base
    that comes late undoes the overlays before it, without a word from MONAI.
    """
    bases = [source for source in sources if base_of(source.content)]
    overlays = [source for source in sources if not base_of(source.content)]
    problems = [_two(bases[0], other) for other in bases[1:]]
    if bases:
        base = str(base_of(bases[0].content))
        if sources[0] is not bases[0]:
            problems.append(_late(bases[0], sources[0]))
    else:
        base = _guessed(overlays)
        found = ", ".join(source.name for source in sources)
        problems.append(
            Problem("", "", f"config_file: found {found}, expected configs/{base}.yaml before: overlays alone.")
        )
    kept = [bases[0] if bases else shipped(base)]
    for overlay in overlays:
        problems += [_no_base(overlay, name) for name in overlay.overlay_on if name not in BASES]
        wrong = [] if base in _made_for(overlay, base) else [_wrong(overlay, base)]
        problems += wrong
        kept += [] if wrong else [overlay]
    return kept, base, problems


def _made_for(overlay: Source, base: str) -> tuple[str, ...]:
    """The bases an overlay can be laid over: those that `overlay_on` lists, or those that have one of its keys."""
    if named := tuple(name for name in overlay.overlay_on if name in BASES):
        return named
    roots = {normal(key.lstrip("+")).split("::")[0] for key in overlay.content}
    fitting = tuple(name for name in BASES if roots & shipped(name).content.keys())
    return fitting or (base,)


def _guessed(overlays: Sequence[Source]) -> str:
    """The base that most of the overlays are made for."""
    made = [_made_for(overlay, "train") for overlay in overlays]
    return max(BASES, key=lambda name: sum(name in one for one in made))


def _no_base(overlay: Source, name: str) -> Problem:
    line = f":{overlay.lines['overlay_on']}" if overlay.lines else ""
    return Problem(f"{overlay.name}{line}", "overlay_on", name, "train, inference or both", closest(name, BASES))


def _two(first: Source, other: Source) -> Problem:
    found = f"config_file: found {first.name} and {other.name}, expected one base"
    return Problem("", "", f"{found}: train.yaml for training, inference.yaml for all else.")


def _late(base: Source, first: Source) -> Problem:
    found = f"config_file: found {base.name} after {first.name}, expected it first"
    return Problem("", "", f"{found}: what comes later wins, and it sets every key.")


def _wrong(overlay: Source, base: str) -> Problem:
    made = " or ".join(f"{name}.yaml" for name in _made_for(overlay, base))
    found = f"config_file: found {Path(overlay.name).name} on {base}.yaml, expected it on {made}"
    advice = f"Leave it out, or give configs/{made.partition(' ')[0]} instead of {base}.yaml."
    return Problem("", "", f"{found}: it does nothing here, or breaks it. {advice}")
