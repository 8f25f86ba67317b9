"""Start `scripts.judge.command` from the command line: python -m scripts.judge --help."""

from __future__ import annotations

from scripts.command.start import start
from scripts.judge.command import judge_files

if __name__ == "__main__":
    start(judge_files)
