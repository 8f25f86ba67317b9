"""The one error class for bad input: files, arrays, configuration values."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be worked on.

    The message names the file or value, what was found, what was expected and what to do about it.
    """
