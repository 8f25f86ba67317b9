"""Start `scripts.adapt.command` from the command line: python -m scripts.adapt --help."""

from __future__ import annotations

from scripts.adapt.command import adapt_files
from scripts.command.start import start

if __name__ == "__main__":
    start(adapt_files)
