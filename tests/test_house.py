"""The tool that prints size and shape of the code: its figures of a small tree, counted by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[1] / "tools" / "house.py"
TREE = {
    "__init__.py": '"""Bundle."""\n',
    "error.py": "",
    "read/__init__.py": "from scripts.read.file import read\n",
    "read/file.py": (
        "from typing import TYPE_CHECKING\nfrom scripts import error\nif TYPE_CHECKING:\n    import scripts.draw\n\n\n"
        'def read():\n    """Read."""\n    # a reason\n    for x in ():\n        if x:\n            return\n'
    ),
    "draw.py": "def draw():\n    from scripts.read.part import part\n    return part\n",
    "read/part.py": "import scripts.read.whole\npart = 0\n",
    "read/whole.py": "from scripts.read.part import part\n",
}


def test_a_small_tree_has_the_figures_counted_by_hand(tmp_path: Path) -> None:
    for name, text in TREE.items():
        path = tmp_path / "bundle" / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shown = subprocess.run([sys.executable, TOOL, tmp_path], check=True, capture_output=True, text=True).stdout
    assert shown.splitlines() == [
        "lines of bundle/scripts: 20",
        "lines of tests: 0",
        "lines of tools: 0",
        "functions: 2, lines of code: median 4, 90th percentile 4, longest 4",
        "deepest nesting: 2, in bundle/scripts/read/file.py",
        "rooms: 3, arrows between rooms: 2",
        "cycles of rooms: none",
        "cycles of modules: scripts.read.part -> scripts.read.whole -> scripts.read.part",
    ]
