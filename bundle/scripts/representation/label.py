"""What the maps ask of a label."""

from __future__ import annotations

import numpy as np
from scripts.errors import InputError

__all__ = ["checked_label"]


def checked_label(label: np.ndarray) -> np.ndarray:
    """The label, if it is a volume of whole numbers from 0 on."""
    label = np.asarray(label)
    if label.ndim != 3 or label.dtype.kind not in "iu" or (label.size and label.min() < 0):
        found = f"shape {label.shape}, {label.dtype}"
        raise InputError(f"label: found {found}, expected whole numbers from 0 on, in (Z, Y, X).")
    return label
