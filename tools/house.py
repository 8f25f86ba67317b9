"""Size and shape of the code: lines, lengths of functions, long files, imports between rooms, cycles of imports.

    .venv/bin/python tools/house.py
    .venv/bin/python tools/house.py ../another/checkout

A room is a module or a package directly under bundle/scripts/. An arrow is a pair of rooms of which one imports the
other, at whatever place in a file. Imports for type checkers alone do not count. A function's length is its lines of
code: without its docstring, comments and empty lines.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LONG_FILE = 250
Arrows = dict[str, set[str]]


def main(root: Path) -> None:
    """Print the figures of a checkout."""
    scripts = sorted((root / "bundle" / "scripts").rglob("*.py"))
    trees = {path: ast.parse(path.read_text()) for path in scripts}
    modules = {name_of(path, root / "bundle"): tree for path, tree in trees.items()}
    arrows = arrows_of(modules)
    rooms = rooms_of(arrows)
    sizes = sorted(length for path, tree in trees.items() for length in lengths(tree, path.read_text().splitlines()))
    for name in ("bundle/scripts", "tests", "tools"):
        print(f"lines of {name}: {sum(map(lines, (root / name).rglob('*.py'))):,}")
    for path in scripts:
        if lines(path) > LONG_FILE:
            print(f"over {LONG_FILE} lines: {path.relative_to(root)}, {lines(path)}")
    print(
        f"functions: {len(sizes):,}, lines of code: median {sizes[len(sizes) // 2]}, "
        f"90th percentile {sizes[len(sizes) * 9 // 10]}, longest {sizes[-1]}"
    )
    deepest = max((depth(tree), str(path.relative_to(root))) for path, tree in trees.items())
    print(f"deepest nesting: {deepest[0]}, in {deepest[1]}")
    print(f"rooms: {len(rooms)}, arrows between rooms: {sum(len(rooms[room] - {room}) for room in rooms)}")
    print(f"cycles of rooms: {listing(cycles(rooms))}")
    print(f"cycles of modules: {listing(cycles(arrows))}")


def lines(path: Path) -> int:
    """Return how many lines a file has, as `wc -l` counts."""
    return path.read_bytes().count(b"\n")


def name_of(path: Path, bundle: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(bundle).with_suffix("").parts).removesuffix(".__init__")


def arrows_of(modules: Mapping[str, ast.Module]) -> Arrows:
    """Return the modules that each module imports."""
    return {name: {found for found in imports(tree, modules) if found != name} for name, tree in modules.items()}


def rooms_of(arrows: Arrows) -> Arrows:
    """Return the same for rooms: the parts of the names that follow `scripts`."""
    rooms: Arrows = {}
    for module, targets in arrows.items():
        if "." in module:
            rooms.setdefault(module.split(".")[1], set()).update(target.split(".")[1] for target in targets)
    return rooms


def imports(tree: ast.AST, modules: Mapping[str, ast.Module]) -> Iterator[str]:
    """Yield the modules of `scripts` that a piece of code imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            longer = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from longer & modules.keys()
            if longer - modules.keys():
                yield node.module or ""
        yield from imports(node, modules)


def lengths(tree: ast.Module, text: list[str]) -> Iterator[int]:
    """Yield the lines of code of each function."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            skipped = span(node.body[0]) if ast.get_docstring(node) is not None else range(0)
            rows = (text[row - 1].strip() for row in span(node) if row not in skipped)
            yield sum(bool(row) and not row.startswith("#") for row in rows)


def span(node: ast.stmt) -> range:
    """Return the numbers of a statement's lines."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def depth(node: ast.AST, above: int = 0) -> int:
    """Return how deeply statements are nested in a function. `elif` adds no depth."""
    deepest = above
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                deepest = max(deepest, depth(child))
            elif isinstance(child, ast.AST):
                chained = isinstance(node, ast.If) and isinstance(child, ast.If) and name == "orelse"
                deeper = isinstance(child, (ast.If, ast.For, ast.While, ast.With, ast.Try)) and not chained
                deepest = max(deepest, depth(child, above + deeper))
    return deepest


def cycles(arrows: Arrows) -> list[list[str]]:
    """Return cycles of imports that share no arrow, until none is left."""
    left = {source: sorted(targets - {source}) for source, targets in sorted(arrows.items())}
    found: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]  # each node of the error is imported by the next one
            found.append(circle)
            left[circle[0]].remove(circle[1])
        else:
            return found


def listing(found: list[list[str]]) -> str:
    """Return cycles in one line."""
    return "; ".join(" -> ".join(circle) for circle in found) or "none"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
