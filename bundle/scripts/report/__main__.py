"""Start `scripts.report.command` from the command line: python -m scripts.report --help."""

from __future__ import annotations

import sys

import fire

from scripts.errors import InputError
from scripts.report.command import report

if __name__ == "__main__":
    try:
        fire.Fire(report, name="scripts.report")
    except InputError as error:
        sys.exit(f"error: {error}")
