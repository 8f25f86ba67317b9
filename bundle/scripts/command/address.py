"""Names of files and folders as people type them: `~`, `$VAR` and `${VAR}`."""

from __future__ import annotations

import os
import re

from scripts.errors import InputError

__all__ = ["expanded"]

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_LEADING = re.compile(r"\$(?:\{[A-Za-z_]\w*\}|[A-Za-z_]\w*/)")


def expanded(name: str | os.PathLike[str]) -> str:
    """Return a name with `~`, `$VAR` and `${VAR}` replaced; a file that has such a name is taken as it is.

    What begins with `$` is an expression to MONAI, such as `$None` or `$@bundle_root + '/data'`. It is a variable here
    only as `${VAR}` or `$VAR/…`, or where there is a variable of that name.

    Raises:
        InputError: there is no such variable or no such user.
    """
    text = os.fspath(name)
    if not (text.startswith("~") or "$" in text) or os.path.lexists(text):
        return text
    if text.startswith("$") and not _LEADING.match(text) and text[1:] not in os.environ:
        return text
    full = os.path.expandvars(os.path.expanduser(text))
    for match in _VARIABLE.finditer(text):
        if (variable := match[1] or match[2]) not in os.environ:
            raise InputError(f"{text}: found no environment variable {variable}. Set it, or write the name in full.")
    if text.startswith("~") and full.startswith("~"):
        raise InputError(f"{text}: found no home folder of {text.partition('/')[0]}. Write the name in full, or ./~….")
    return full
