"""From two volumes to instances in one command: ``python -m scripts.adapt``."""

from scripts.adapt.command import adapt_files

__all__ = ["adapt_files"]
