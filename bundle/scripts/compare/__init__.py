"""CySGAN against what one would do without it, on one's own volumes: ``python -m scripts.compare``."""

from scripts.compare.command import compare
from scripts.compare.method import METHODS, Method
from scripts.compare.run import Run, Target
from scripts.compare.table import summarise

__all__ = ["METHODS", "Method", "Run", "Target", "compare", "summarise"]
