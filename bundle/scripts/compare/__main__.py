"""Start `scripts.compare.command` from the command line: python -m scripts.compare --help."""

from __future__ import annotations

from scripts.command.start import start
from scripts.compare.command import compare

if __name__ == "__main__":
    start(compare)
