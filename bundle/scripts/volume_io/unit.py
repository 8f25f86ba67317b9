"""Units of length as files spell them, and voxel sizes in micrometres. No other module converts lengths."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "MICROMETRES",
    "MOST_APART",
    "MOST_SCALED",
    "apart",
    "as_text",
    "as_voxel_size",
    "in_micrometres",
    "is_without_length",
    "length_unit",
    "warn_once",
]

VoxelSize = tuple[float, float, float]

# "unknown" lengths (most NIfTI files that people write themselves say nothing) are taken as micrometres
MICROMETRES = {
    "pm": 1e-6,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "unknown": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "inch": 25400.0,
    "m": 1e6,
}
PREFIXES = {"pico": "pm", "nano": "nm", "micro": "um", "milli": "mm", "centi": "cm", "deci": "dm", "": "m"}
SPELLINGS = {
    f"{prefix}{word}": unit for prefix, unit in PREFIXES.items() for word in ("meter", "meters", "metre", "metres")
} | {
    "micron": "um",
    "microns": "um",
    "mum": "um",
    "mcm": "um",
    "nms": "nm",
    "ums": "um",
    "mms": "mm",
    "in": "inch",
    "inches": "inch",
    '"': "inch",
    "\u00e5": "angstrom",
    "a": "angstrom",
    "ang": "angstrom",
    "angstroms": "angstrom",
    "\u00e5ngstr\u00f6m": "angstrom",
    "\u00e5ngstrom": "angstrom",
    "angstr\u00f6m": "angstrom",
}
# what stands where a length has no unit
NO_LENGTH = {
    *("", "-", "none", "null", "n/a", "pixel", "pixels", "px", "pix", "voxel", "voxels", "vx", "index", "1"),
    *("unknown", "unit", "units", "unitless", "dimensionless", "arbitrary", "a.u.", "au", "reference frame"),
}
# ImageJ writes the micro sign as an escape, there are two such signs (U+00B5 and the Greek letter U+03BC), and UTF-8
# that was read as Latin-1 has another letter before it
MICRO = re.compile(
    "\\\\u00b5|\\\\u03bc|&micro;|&#181;|&#xb5;|&mu;|\u00e2\u00b5|\u00c2\u00b5|\u00b5|\u03bc", re.IGNORECASE
)
# Voxels of two volumes that show the same kind of object do not differ by more: a larger factor is a wrong unit.
MOST_APART = 20.0
MOST_SCALED = 20.0
"""A larger factor makes a volume of nothing but interpolated voxels: a voxel size is in a wrong unit."""
# megametres and petametres, if the case is meant; millimetres and picometres, if it is not
AMBIGUOUS = ("M", "Mm", "Pm")


def as_text(value: Any) -> str:
    """Return text that a file keeps as str, bytes, or an array of one of these; "" for None."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8") if _is_utf8(value) else value.decode("latin-1")
    return "" if value is None else str(value).strip().strip("\0")


def length_unit(text: Any) -> str | None:
    """Return the key of `MICROMETRES` for a unit as files spell it, None for one that is no length (such as "pixel").

    >>> length_unit("\u00b5m"), length_unit("Micron"), length_unit("nanometre"), length_unit("pixel")
    ('um', 'um', 'nm', None)
    """
    given = as_text(text).strip("[]() ")
    if given in AMBIGUOUS:
        return None
    name = MICRO.sub("u", given).lower().replace("a\u030a", "\u00e5").replace("\u212b", "\u00e5")
    name = name if name == "unknown" else SPELLINGS.get(name, name)
    return name if name in MICROMETRES and name != "unknown" else None


def is_without_length(text: Any) -> bool:
    """Return whether a file says that its sizes are no lengths: no unit, or one such as "pixel"."""
    return as_text(text).strip("[]() ").lower() in NO_LENGTH


def as_voxel_size(values: Sequence[float] | np.ndarray | None) -> VoxelSize | None:
    """Return three positive finite floats, or None for anything else: what files say may be nonsense."""
    try:
        sizes = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return None
    if sizes.shape != (3,) or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        return None
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


def in_micrometres(sizes: Any, units: Sequence[Any], name: object) -> VoxelSize | None:
    """Return a voxel size in micrometres.

    Args:
        sizes: (z, y, x) in `units`.
        units: of each axis, as the file spells it; "" where it says none.
        name: the file, for the warning.

    Returns:
        None where the sizes are no lengths. Where a unit is not known, or only some axes have one, also None, and one
        warning says so: a guess could be wrong by a factor of 1000.
    """
    known = [length_unit(unit) for unit in units]
    if all(is_without_length(unit) for unit in units):
        return None
    if None in known or len(known) != 3:
        stated = ", ".join(repr(as_text(unit)) for unit in units)
        warn_once(
            f"{name}: voxel size {_shown(sizes)} (z, y, x) in units {stated}; expected a unit of length for each axis, "
            f"such as nm, um or mm. The voxel size is taken as unknown; correct the units in the file."
        )
        return None
    size = as_voxel_size(sizes)
    if size is None:
        warn_once(
            f"{name}: voxel size {_shown(sizes)} (z, y, x); expected three sizes above 0. It is taken as unknown."
        )
    return size and as_voxel_size([one * MICROMETRES[str(unit)] for one, unit in zip(size, known, strict=True)])


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest factor, 1 or more, by which two voxel sizes differ along an axis."""
    ratios = np.asarray(one, float) / np.asarray(other, float)
    return float(np.maximum(ratios, 1 / ratios).max())


@functools.lru_cache(maxsize=4096)
def warn_once(message: str) -> None:
    """Log a warning, unless this process has given it before: a volume is opened several times in a run."""
    logging.getLogger("scripts.volume_io").warning("%s", message)


def _shown(sizes: Any) -> str:
    given = np.asarray(sizes, dtype=object).reshape(-1)
    return (
        "(" + ", ".join(f"{one:.6g}" if isinstance(one, (int, float, np.number)) else str(one) for one in given) + ")"
    )


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
