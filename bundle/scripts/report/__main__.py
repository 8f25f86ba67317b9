"""Start `scripts.report.command` from the command line: python -m scripts.report --help."""

from __future__ import annotations

from scripts.command.start import start
from scripts.report.command import report

if __name__ == "__main__":
    start(report)
