"""Named arrays in one compressed file, the .npz of numpy."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scripts.volume_io.paths import replacing

__all__ = ["write_npz"]


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, which are on the disk when this returns. Holds them compressed in memory meanwhile.

    Raises:
        InputError: the file cannot be written (no permission, no space left, …); what was there before is untouched.
    """
    # Not straight into the file: where the disk is full, an archive of Python 3.10 that could not be closed tries again
    # when it is collected, and prints a traceback that nobody can catch.
    content = io.BytesIO()
    np.savez_compressed(content, **dict[str, Any](arrays))
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
