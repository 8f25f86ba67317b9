"""Start `scripts.compare.command` from the command line: python -m scripts.compare --help."""

from __future__ import annotations

import sys

import fire

from scripts.compare.command import compare
from scripts.errors import InputError

if __name__ == "__main__":
    try:
        fire.Fire(compare, name="scripts.compare")
    except InputError as error:
        sys.exit(f"error: {error}")
