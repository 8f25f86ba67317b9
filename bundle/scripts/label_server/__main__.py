"""Start `scripts.label_server.command` from the command line: python -m scripts.label_server --help."""

from __future__ import annotations

import sys

import fire

from scripts.errors import InputError
from scripts.label_server.command import serve

if __name__ == "__main__":
    try:
        fire.Fire(serve, name="scripts.label_server")
    except InputError as error:
        sys.exit(f"error: {error}")
