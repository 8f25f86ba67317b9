"""What a class or function of the bundle takes, read from its source: importing it would import torch."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from scripts.check.range import FLAG, Schema, either, number, text, whole

__all__ = ["arguments"]

ROOT = Path(__file__).resolve().parents[2]
Arguments = dict[str, Schema]
# Neither is looked into: the table of ranges does that where it matters.
_LIST: Schema = {"type": "array", "description": "a list"}
_MAPPING: Schema = {"type": "object", "description": "keys and values"}
_KINDS: dict[str, Schema] = {
    **{"int": whole(), "float": number(), "bool": FLAG, "str": text(0)},
    **dict.fromkeys(("Sequence", "list", "tuple"), _LIST),
    **dict.fromkeys(("Mapping", "dict"), _MAPPING),
    "None": {"type": "null", "description": "null"},
}


@cache
def arguments(target: str) -> Arguments | None:
    """Return what a `_target_` takes, with the schema of its annotation; None where it is none of ours or takes any.

    Decoders take any, and refuse what their function `decode` does not know: its arguments are theirs.
    """
    module, _, name = target.rpartition(".")
    found = _find(module, name) if target.startswith("scripts.") else None
    if found is None:
        return None
    definition, where = found
    if isinstance(definition, ast.FunctionDef):
        return _of_function(definition)
    for part in definition.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _of_function(part, skip=1)
        if function := _decode(part):
            return arguments(f"{where}.{function}")
    if any("dataclass" in ast.unparse(decorator) for decorator in definition.decorator_list):
        fields = [part for part in definition.body if isinstance(part, ast.AnnAssign)]
        return {ast.unparse(field.target): _annotated(field.annotation) for field in fields}
    bases = [ast.unparse(base) for base in definition.bases]
    return arguments(f"{where}.{bases[0]}") if len(bases) == 1 and "." not in bases[0] else None


def _of_function(function: ast.FunctionDef, skip: int = 0) -> Arguments | None:
    given = function.args
    if given.kwarg is not None:
        return None
    return {one.arg: _annotated(one.annotation) for one in [*given.posonlyargs, *given.args][skip:] + given.kwonlyargs}


def _annotated(annotation: ast.expr | None) -> Schema:
    """The schema of a type. A type that YAML cannot write gets the schema that accepts anything."""
    kinds = [_KINDS.get(part.partition("[")[0]) for part in _parts(annotation)]
    known = [kind for kind in kinds if kind is not None]
    return {} if not known or len(known) < len(kinds) else known[0] if len(known) == 1 else either(*known)


def _parts(annotation: ast.expr | None) -> list[str]:
    if isinstance(annotation, ast.BinOp):
        return [*_parts(annotation.left), *_parts(annotation.right)]
    return [] if annotation is None else [ast.unparse(annotation)]


def _decode(part: ast.stmt) -> str | None:
    """The function of `decode = staticmethod(function)`."""
    if not isinstance(part, (ast.Assign, ast.AnnAssign)) or not isinstance(part.value, ast.Call):
        return None
    target = part.targets[0] if isinstance(part, ast.Assign) else part.target
    is_decode = ast.unparse(target) == "decode" and ast.unparse(part.value.func) == "staticmethod"
    return ast.unparse(part.value.args[0]) if is_decode else None


def _find(module: str, name: str) -> tuple[ast.ClassDef | ast.FunctionDef, str] | None:
    """Follow imports to where a name is defined; return the definition and its module."""
    for statement in _statements(module):
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
            return statement, module
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("scripts."):
            for one in statement.names:
                if (one.asname or one.name) == name:
                    return _find(str(statement.module), one.name)
    return None


@cache
def _statements(module: str) -> tuple[ast.stmt, ...]:
    """Statements at the top of a module, those for type checkers among them."""
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            body = ast.parse(file.read_text()).body
            return (*body, *(inner for one in body if isinstance(one, ast.If) for inner in one.body))
    return ()
