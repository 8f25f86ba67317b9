"""Start `scripts.check.command` from the command line: python -m scripts.check --help."""

from __future__ import annotations

from scripts.check.command import check
from scripts.command.start import start

if __name__ == "__main__":
    start(check)
