"""Volumes larger than memory, block by block: prediction, and a watershed that does not depend on the blocks."""
