"""Start `scripts.report.command` from the command line: python -m scripts.report --help."""

from __future__ import annotations

from scripts.report.command import report
from scripts.start import start

if __name__ == "__main__":
    start(report)
