"""Write the pair from the command line: python -m scripts.example --output_dir D --seed 1."""

from __future__ import annotations

import sys

import fire

from scripts.errors import InputError
from scripts.example.pair import write_pair

if __name__ == "__main__":
    try:
        fire.Fire(write_pair, name="scripts.example")
    except InputError as error:
        sys.exit(f"error: {error}")
