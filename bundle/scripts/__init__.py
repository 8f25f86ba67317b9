"""CySGAN: segment an unlabelled volume by translating it to and from a labelled one."""

import sys

from scripts.moved import keep_old_names

keep_old_names()

if sys.argv[:1] == ["-m"]:  # `python -m scripts.X` is looking for its module: an import may fail before `start` runs
    if sys.version_info < (3, 11):  # noqa: UP036 (no other line tells what is wrong with an older Python)
        sys.exit(f"error: Python {sys.version.split()[0]} found, 3.11 to 3.14 needed: {sys.executable}")
    from scripts.command.start import plain_errors

    plain_errors()
