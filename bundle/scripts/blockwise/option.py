"""A decoder's options, as far as blocks can have them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from scripts.errors import InputError
from scripts.watershed import BCDWatershed
from scripts.watershed.pipeline import Recipe

__all__ = ["Options", "doubled", "options_of"]

Triple = tuple[int, int, int]
_WHOLE_ONLY = {"scale_factors": (1, 1, 1), "seeds": None, "return_seeds": False, "ties": "raster"}


class Options(NamedTuple):
    """What a decoder was given, and its defaults.

    Attributes:
        recipe: thresholds.
        min_seed_size: in voxels.
        min_instance_size: in voxels; 0 where small instances stay.
        given: all of it by name, for the settings of a run.
    """

    recipe: Recipe
    min_seed_size: int
    min_instance_size: int
    given: dict[str, Any]


def options_of(decoder: BCDWatershed) -> Options:
    """Return the options of a decoder.

    Raises:
        InputError: one of them needs the whole volume.
    """
    defaults = {name: entry.default for name, entry in inspect.signature(decoder.decode).parameters.items()}
    given = {name: decoder.options.get(name, default) for name, default in defaults.items()}
    for name, only in _WHOLE_ONLY.items():
        value = given.pop(name)
        if (tuple(value) if isinstance(value, list) else value) != only:
            expected = "leave it out" if only is None else f"give {only}, or decode the whole by scripts.watershed"
            raise InputError(f"{name}: cannot be changed where a volume is decoded block by block; {expected}.")
    if given["small_mode"] not in ("background", "none"):
        found = given["small_mode"]
        raise InputError(f"small_mode: found {found!r}, expected background or none for blocks.")
    names = set(inspect.signature(decoder.recipe).parameters)
    recipe = decoder.recipe(**{name: value for name, value in given.items() if name in names})
    small = given["min_instance_size"] if given["small_mode"] == "background" else 0
    kept = {name: value for name, value in given.items() if name not in ("maps", "on_stage")}
    return Options(recipe, given["min_seed_size"], small, kept)


def doubled(halo: Sequence[int], limit: Sequence[int] | None = None) -> list[Triple]:
    """Return halos (z, y, x) from the first, each twice the one before, up to the limit, by default eight times it.

    >>> doubled((2, 4, 4), (8, 12, 12))
    [(2, 4, 4), (4, 8, 8), (8, 12, 12)]

    Raises:
        InputError: they are not three whole numbers, at least 1 each, the limit no less than the first.
    """
    limit = limit or [8 * side for side in halo]
    fits = len(halo) == len(limit) == 3 and all(1 <= int(a) == a <= b for a, b in zip(halo, limit, strict=True))
    if not fits:
        raise InputError(f"halo {halo}, max_halo {limit}: expected three voxels (z, y, x) each, the second no less.")
    halos = [(int(halo[0]), int(halo[1]), int(halo[2]))]
    while halos[-1] != tuple(limit):
        z, y, x = (min(2 * side, int(most)) for side, most in zip(halos[-1], limit, strict=True))
        halos.append((z, y, x))
    return halos
