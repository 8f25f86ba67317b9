"""Write the pair from the command line: python -m scripts.example --output_dir D --seed 1."""

from __future__ import annotations

from scripts.example.pair import write_pair
from scripts.start import start

if __name__ == "__main__":
    start(write_pair)
