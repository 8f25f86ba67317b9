"""Start `scripts.compare.command` from the command line: python -m scripts.compare --help."""

from __future__ import annotations

from scripts.compare.command import compare
from scripts.start import start

if __name__ == "__main__":
    start(compare)
