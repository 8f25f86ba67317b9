"""The one error class for bad input: files, arrays, configuration values; and the status of what is to be continued."""

from __future__ import annotations

__all__ = ["UNFINISHED", "InputError"]

UNFINISHED = 75
"""Exit status of a command that has not finished and goes on when it is given again (EX_TEMPFAIL)."""


class InputError(ValueError):
    """Input that cannot be worked on.

    The message names the file or value, what was found, what was expected and what to do about it.
    """
