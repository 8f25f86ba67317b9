"""Which files a pattern or a list of names means, in which order, and whether two lists pair."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from scripts.errors import InputError
from scripts.volume_io.paths import SUFFIXES, existing, split_dataset
from scripts.volume_io.unit import warn_once

__all__ = ["check_pairs", "has_pattern", "list_volumes", "name_parts", "stem_of"]

Key = tuple[int | str, ...]
# What inference and the block-wise run write: Y_maps.h5, Y_instances.tif, maps.zarr; MONAI's own ending is trans.
RESULT = re.compile(r"(.*_)?(maps|instances|trans)")


def list_volumes(spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the files and Zarr stores that `spec` means.

    The files of one pattern are sorted, numbers in their names as numbers: vol_2 comes before vol_10. What the bundle
    wrote, such as Y_instances.tif, is left out with a warning unless the pattern asks for it. Entries of a list keep
    the order they are given in, because images and labels are paired by their position.

    Args:
        spec: a path, a pattern with `*`, `?`, `[…]` or `**`, either of them with `::dataset`, or a list of these.

    Raises:
        InputError: a file that does not exist, a pattern that matches none, or nothing given.
    """
    entries = [spec] if isinstance(spec, (str, os.PathLike)) else list(spec or ())
    if not entries or any(entry is None or not os.fspath(entry) for entry in entries):
        raise InputError(f"No volume is given ({spec!r}); expected a path, a pattern (folder/*.tif), or a list.")
    return [name for entry in entries for name in _matches(entry)]


def check_pairs(images: Sequence[str], labels: Sequence[str], sorted_by_name: bool) -> None:
    """See that each image has a label, and that what tells the names of the images apart is the same in the labels.

    Args:
        images: names.
        labels: as many, in the same order.
        sorted_by_name: whether patterns gave the order; of lists, names that have nothing in common are only a warning.

    Raises:
        InputError: there are more of one than of the other, or an image stands beside another image's label.
    """
    if len(images) != len(labels):
        raise InputError(
            f"{len(images)} images and {len(labels)} labels: expected one label for each image, in the same order. "
            f"Found {list(images)} and {list(labels)}."
        )
    own, others = _keys(images), _keys(labels)
    wrong = [place for place, pair in enumerate(zip(own, others, strict=True)) if pair[0] != pair[1]]
    if not wrong or any(len(a) != len(b) or not a for a, b in zip(own, others, strict=True)):
        return
    is_numbered = all(isinstance(part, int) for key in (*own, *others) for part in key)
    is_mixed_up = any(own[place] in others for place in wrong) and (not is_numbered or sorted(own) == sorted(others))
    if not is_numbered and not is_mixed_up:
        return
    pairs = ", ".join(f"{images[place]} with {labels[place]}" for place in wrong[:4])
    text = f"images and labels pair wrongly by their names: {pairs}{', …' if len(wrong) > 4 else ''}"
    if sorted_by_name or is_mixed_up or len(wrong) < len(images):
        advice = "Give two lists in the same order, or names with the same numbers."
        raise InputError(f"{text}. Expected each image with its own label. {advice}")
    warn_once(f"{text}. Check that each image is listed with its own label.")


def has_pattern(spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> bool:
    """Return whether a name, or one of a list, stands for several files."""
    return any(map(_is_pattern, [spec] if isinstance(spec, (str, os.PathLike)) else spec))


def name_parts(name: str) -> list[int | str]:
    """Split a name into texts and whole numbers.

    >>> name_parts("vol_02.tif")
    ['vol_', 2, '.tif']
    """
    return [int(part) if part.isdecimal() else part for part in re.findall(r"\d+|\D+", name)]


def stem_of(path: Path) -> str:
    """Return the name of a file without the extension of its format, .ome.tif and .nii.gz among them."""
    name = path.name
    for suffix in sorted((end for ends in SUFFIXES.values() for end in ends), key=len, reverse=True):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            return name[:-4] if name.lower().endswith(".ome") else name
    return name


def _matches(entry: str | os.PathLike[str]) -> list[str]:
    path, dataset = split_dataset(entry)
    if not _is_pattern(entry):
        names = [str(path)]
    elif not (names := _sorted(filter(_is_volume, glob.glob(os.path.join(*_escaped(path)), recursive=True)))):
        raise InputError(f"{path}: no file matches this pattern. Relative patterns are looked up in {Path.cwd()}.")
    else:
        names = _without_results(names, path)
    specs = [name if dataset is None else f"{name}::{dataset}" for name in names]
    for spec in specs:
        existing(spec)
    return specs


def _is_pattern(spec: str | os.PathLike[str]) -> bool:
    """A name with brackets may be a plain one, so a file or folder of that name comes first."""
    path = split_dataset(spec)[0]
    return not path.exists() and glob.has_magic(_escaped(path)[1])


def _escaped(path: Path) -> tuple[str, str]:
    """The folder that is there, its brackets and stars taken as they are, and the rest."""
    folder = next((parent for parent in path.parents if str(parent) != "." and parent.exists()), None)
    return ("", str(path)) if folder is None else (glob.escape(str(folder)), str(path.relative_to(folder)))


def _sorted(names: Iterable[str]) -> list[str]:
    def key(name: str) -> list[tuple[bool, int, str]]:
        return [
            (isinstance(part, str), *((0, part) if isinstance(part, str) else (part, ""))) for part in name_parts(name)
        ]

    return sorted(names, key=lambda name: (key(name), name))


def _without_results(names: list[str], pattern: Path) -> list[str]:
    results = [name for name in names if RESULT.fullmatch(stem_of(Path(name)))]
    if (
        not results
        or len(results) == len(names)
        or any(word in pattern.name for word in ("maps", "instances", "trans"))
    ):
        return names
    warn_once(f"{pattern}: results of this bundle are left out: {', '.join(results)}. Name each to read it.")
    return [name for name in names if name not in results]


def _is_volume(name: str) -> bool:
    return os.path.isfile(name) or name.lower().endswith(SUFFIXES["zarr"])


def _keys(names: Sequence[str]) -> list[Key]:
    """What tells names apart: the numbers between the parts that all of them share, or the text where there is none."""
    rows = _differing([name_parts(name) for name in names])
    numbers = [tuple(part for part in row if isinstance(part, int)) for row in rows]
    if any(numbers):
        return list(numbers)
    return [("".join(map(str, row)),) for row in _differing([list(name) for name in names])]


def _differing(rows: Sequence[Sequence[int | str]]) -> list[Sequence[int | str]]:
    """Rows without what all of them begin and end with."""
    head = _shared(rows)
    rests = [row[head:] for row in rows]
    tail = _shared([row[::-1] for row in rests])
    return [row[: len(row) - tail] for row in rests]


def _shared(rows: Sequence[Sequence[int | str]]) -> int:
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
