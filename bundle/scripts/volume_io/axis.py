"""Names of axes that files state, and the order (z, y, x) or (c, z, y, x) that they are brought to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.unit import as_text

__all__ = [
    "UNKNOWN",
    "above_axes",
    "arrange",
    "axis_letter",
    "axis_letters",
    "expected_axes",
    "kept_axes",
    "stated_axes",
]

# stands for an axis whose name says nothing, such as dim_0
UNKNOWN = "?"
WORDS = {
    "z": ("z", "depth", "plane", "planes", "slice", "slices", "section", "sections"),
    "y": ("y", "height", "row", "rows"),
    "x": ("x", "width", "col", "cols", "column", "columns"),
    "c": ("c", "ch", "channel", "channels", "chan", "band", "bands"),
    "t": ("t", "time", "times", "frame", "frames", "timepoint", "timepoints"),
}
LETTERS = {word: letter for letter, words in WORDS.items() for word in words}
AROUND = re.compile(r"^(?:axis|dim|dimension)[\W_]*(?=[a-z])|[\W_]*(?:axis|dim|dimension|coord|coordinate)$")
# one letter an axis, those of tifffile, Bio-Formats and ilastik among them
SINGLE = re.compile("[zyxctsiqn]{2,}", re.IGNORECASE)
# names of attributes, lower case and without separators, that hold the axes of an array
ATTRIBUTES = (
    *("axistags", "arraydimensions", "dimensionlabels", "dimensionnames", "dimensionorder", "dimensions"),
    *("axes", "axisorder", "axesorder", "axisnames", "axesnames", "axislabels", "axeslabels"),
    *("dims", "dimorder", "dimnames", "dimlabels"),
)


def axis_letter(name: Any) -> str:
    """Return z, y, x, c or t for a name that means one of these, else "?".

    >>> axis_letter("Depth"), axis_letter("x-axis"), axis_letter("dim_0")
    ('z', 'x', '?')
    """
    text = as_text(name).lower()
    text = re.split(r"\s*[\[(/]", text)[0].strip()  # "x [um]"
    return LETTERS.get(text) or LETTERS.get(AROUND.sub("", text), UNKNOWN)


def axis_letters(value: Any) -> str:
    """Return a letter for each axis that a value names, "" for a value that names none.

    Args:
        value: names in a list, an array or a text ("zyx", "Z Y X", "depth,height,width"), or such in JSON, as
            ilastik's axistags are.
    """
    names = _names(value)
    letters = "".join(axis_letter(name) for name in names)
    return letters if letters.strip(UNKNOWN) else ""


def stated_axes(attributes: Mapping[str, Any], shape: Sequence[int], name: object) -> str:
    """Return a letter for each axis of an array, "" where its attributes do not state them.

    Raises:
        InputError: two attributes disagree, or one names another number of axes than there are.
    """
    found: dict[str, str] = {}
    for key in attributes:
        short = re.sub(r"[\W_]", "", str(key)).lower()
        if short not in ATTRIBUTES:
            continue
        letters = axis_letters(attributes[key])
        if short == "dimensionorder" and re.fullmatch("xy[zct]{3}", letters):
            letters = letters[::-1]  # as Bio-Formats has it: the axis that varies fastest comes first
        if letters := letters and fitted(letters, shape, f"{name}: {key}"):
            found[key] = letters
    known = {letters for letters in found.values() if UNKNOWN not in letters} or set(found.values())
    if len(known) > 1:
        said = ", ".join(f"{key} says {letters}" for key, letters in found.items())
        raise InputError(f"{name}: contradictory axes, {said}. Correct these attributes.")
    return known.pop() if known else ""


def above_axes(groups: Iterable[Mapping[str, Any]], shape: Sequence[int]) -> str:
    """Return the axes that the attributes of groups above an array state, "" where none fit it: it may be of others."""
    for attributes in groups:
        with suppress(InputError):
            if letters := stated_axes(attributes, shape, "group"):
                return letters
    return ""


def fitted(letters: str, shape: Sequence[int], name: object) -> str:
    """Return one letter for each axis of `shape`, "" where none is known; axes of length 1 need not be named.

    Raises:
        InputError: there are more or fewer.
    """
    if len(letters) == len(shape):
        return letters
    longer = [axis for axis, size in enumerate(shape) if size != 1]
    if len(set(letters) & set("zyx")) < 2 or UNKNOWN in letters:
        return ""  # no statement about these axes
    if len(letters) != len(longer):
        raise InputError(
            f"{name} names {len(letters)} axes, {letters!r}, of an array of shape {tuple(shape)}; expected a name for "
            "each axis. Correct or remove it."
        )
    named = dict(zip(longer, letters, strict=True))
    return "".join(named.get(axis, UNKNOWN) for axis in range(len(shape)))


def arrange(letters: str, shape: Sequence[int], ndim: int, name: object) -> tuple[int, ...]:
    """Return which stored axes are (Z, Y, X) or (C, Z, Y, X), in this order; the others have length 1.

    Args:
        letters: of the stored axes; "" takes their order for (…, Z, Y, X).
        shape: as stored.
        ndim: 3 or 4.
        name: of the array, for messages.

    Raises:
        InputError: an axis is named twice, is missing, or is another and longer than 1.
    """
    wanted = "czyx"[-ndim:]
    plain = kept_axes(shape, ndim)
    if not letters.strip(UNKNOWN):
        axes = plain if len(plain) == ndim else ()
    else:
        axes = _by_name(letters, shape, wanted, plain)
    if not axes:
        axes_of = f"axes {letters} of " if letters.strip(UNKNOWN) else ""
        raise InputError(
            f"{name}: {len(shape)}D, {axes_of}shape {tuple(shape)}; expected {expected_axes(ndim)}. "
            "Save one channel, one time point."
        )
    return axes


def expected_axes(ndim: int) -> str:
    """Return how messages name the axes."""
    return "(Z, Y, X)" if ndim == 3 else "(C, Z, Y, X)"


def kept_axes(shape: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return which axes are left when those of length 1 are dropped, the first ones first, until `ndim` are left."""
    axes = list(range(len(shape)))
    for axis in range(len(shape)):
        if len(axes) > ndim and shape[axis] == 1:
            axes.remove(axis)
    return tuple(axes)


def _by_name(letters: str, shape: Sequence[int], wanted: str, plain: tuple[int, ...]) -> tuple[int, ...]:
    """Find the axes by their names; unnamed axes are those that are missing, where only one order is possible."""
    missing = [letter for letter in wanted if letter not in letters]
    unnamed = [axis for axis, letter in enumerate(letters) if letter == UNKNOWN and (shape[axis] != 1 or axis in plain)]
    if missing and len(unnamed) > len(missing):
        unnamed = [axis for axis in unnamed if shape[axis] != 1]
    named = {letter: axis for axis, letter in enumerate(letters) if letter != UNKNOWN}
    if len(unnamed) == len(missing):
        named |= dict(zip(missing, unnamed, strict=True))
    axes = tuple(named.get(letter, -1) for letter in wanted)
    others = [size for axis, size in enumerate(shape) if axis not in axes]
    is_guess = len(missing) > 1 and list(axes) != sorted(axes)
    is_repeated = any(letters.count(letter) > 1 for letter in wanted)
    return () if -1 in axes or is_guess or is_repeated or any(size != 1 for size in others) else axes


def _names(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
    if isinstance(value, (str, bytes)):
        return _names_in_text(as_text(value))
    if isinstance(value, Mapping):
        return _names(value.get("axes"))
    if not isinstance(value, (list, tuple)):
        return []
    if len(value) == 1 and isinstance(value[0], (str, bytes)):
        return _names_in_text(as_text(value[0]))
    return [_name(one) if isinstance(one, Mapping) else one for one in value]


def _name(axis: Mapping[str, Any]) -> Any:
    """Return the name of an axis as ilastik ("key") or OME-Zarr ("name", "type") describes it."""
    name = axis.get("key", axis.get("name", axis.get("label")))
    kind = {"channel": "c", "time": "t"}.get(as_text(axis.get("type")).lower(), UNKNOWN)
    return name if kind == UNKNOWN else kind


def _names_in_text(text: str) -> list[Any]:
    if text[:1] in "{[":
        try:
            return _names(json.loads(text))
        except ValueError:
            pass  # "[z, y, x]"
    text = text.strip("()[]<> ")
    for separator in (r"[,;|>\s]+", "[-_/*]+"):
        words = [word.strip("'\"") for word in re.split(separator, text) if word]
        if len(words) > 1:
            return words
    return list(text) if re.fullmatch(SINGLE, text) else words
