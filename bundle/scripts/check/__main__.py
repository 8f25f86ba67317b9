"""Start `scripts.check.command` from the command line: python -m scripts.check --help."""

from __future__ import annotations

import sys

import fire

from scripts.check.command import check
from scripts.errors import InputError

if __name__ == "__main__":
    try:
        fire.Fire(check, name="scripts.check")
    except InputError as error:
        sys.exit(f"error: {error}")
