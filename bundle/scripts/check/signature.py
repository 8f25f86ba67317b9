"""Which arguments a class or function of the bundle takes, read from its source: importing it would import torch."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TypeAlias

__all__ = ["arguments"]

ROOT = Path(__file__).resolve().parents[2]
Definition: TypeAlias = ast.ClassDef | ast.FunctionDef


@cache
def arguments(target: str) -> tuple[str, ...] | None:
    """Return the names that a `_target_` takes; None where it is none of ours or takes any.

    Decoders take any, and refuse what their function `decode` does not know: those of that function are theirs.
    """
    module, _, name = target.rpartition(".")
    found = _find(module, name) if target.startswith("scripts.") else None
    if found is None:
        return None
    definition, where = found
    if isinstance(definition, ast.FunctionDef):
        return _names(definition)
    for part in definition.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _names(part, skip=1)
        if function := _decode(part):
            return arguments(f"{where}.{function}")
    if any("dataclass" in ast.unparse(decorator) for decorator in definition.decorator_list):
        fields = [part.target for part in definition.body if isinstance(part, ast.AnnAssign)]
        return tuple(field.id for field in fields if isinstance(field, ast.Name))
    return _inherited(definition, where)


def _names(function: ast.FunctionDef, skip: int = 0) -> tuple[str, ...] | None:
    given = function.args
    if given.kwarg is not None:
        return None
    return tuple(one.arg for one in [*given.posonlyargs, *given.args][skip:] + given.kwonlyargs)


def _decode(part: ast.stmt) -> str | None:
    """The function of `decode = staticmethod(function)`."""
    if not isinstance(part, (ast.Assign, ast.AnnAssign)) or not isinstance(part.value, ast.Call):
        return None
    targets = part.targets if isinstance(part, ast.Assign) else [part.target]
    is_decode = ast.unparse(targets[0]) == "decode" and ast.unparse(part.value.func) == "staticmethod"
    return ast.unparse(part.value.args[0]) if is_decode else None


def _inherited(definition: ast.ClassDef, where: str) -> tuple[str, ...] | None:
    """Arguments of the one base class that is of the bundle."""
    bases = [ast.unparse(base) for base in definition.bases]
    return arguments(f"{where}.{bases[0]}") if len(bases) == 1 and "." not in bases[0] else None


def _find(module: str, name: str) -> tuple[Definition, str] | None:
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
