"""Write the pair from the command line: python -m scripts.example --output_dir D --seed 1."""

from __future__ import annotations

from scripts.command.start import start
from scripts.example.pair import write_pair

if __name__ == "__main__":
    start(write_pair)
