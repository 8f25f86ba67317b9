"""Named arrays in one compressed file, the .npz of numpy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scripts.volume_io.paths import replacing

__all__ = ["write_npz"]


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, which are on the disk when this returns.

    Raises:
        InputError: the file cannot be written (no permission, no space left, …); what was there before is untouched.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **dict[str, Any](arrays))
        file.flush()
        os.fsync(file.fileno())
