"""Start `scripts.label_server.command` from the command line: python -m scripts.label_server --help."""

from __future__ import annotations

from scripts.command.start import start
from scripts.label_server.command import serve

if __name__ == "__main__":
    start(serve)
