"""Which parts of which datasets a virtual dataset of HDF5 is made of, as its file says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py

__all__ = ["Source", "sources_of"]

UNLIMITED = h5py.h5s.UNLIMITED


class Source(NamedTuple):
    """A dataset that gives a part of a virtual one.

    Attributes:
        dataset: its name.
        voxels: how many it gives.
        sides: shape that it has at least; None where all of it is used.
        is_growing: whether the virtual dataset grows with it.
    """

    dataset: str
    voxels: int
    sides: tuple[int, ...] | None
    is_growing: bool


def sources_of(dataset: h5py.Dataset) -> dict[str, list[Source]]:
    """Return the sources by the name of their file, "." for the dataset's own.

    Names with `%b` stand for one source for each number from 0; those missing below the highest are listed, too.
    """
    found: dict[str, list[Source]] = {}
    for mapped in dataset.virtual_sources():
        for file, source in _resolved(dataset, mapped):
            found.setdefault(file, []).append(source)
    return found


def _resolved(dataset: h5py.Dataset, mapped: Any) -> Iterator[tuple[str, Source]]:
    blocks, voxels = _extent(mapped.vspace, dataset.shape)
    file, name = mapped.file_name, mapped.dset_name
    sides = None
    if mapped.src_space.get_select_type() != h5py.h5s.SEL_ALL and not _is_unlimited(mapped.src_space):
        sides = tuple(int(high) + 1 for high in mapped.src_space.get_select_bounds()[1])
    if not (_is_numbered(file) or _is_numbered(name)):
        yield _plain(file), Source(_plain(name), voxels, sides, _is_unlimited(mapped.vspace))
        return
    for number in range(max(1, blocks, 1 + _highest(dataset, file, name))):
        yield _plain(file, number), Source(_plain(name, number), voxels // max(1, blocks), sides, not blocks)


def _extent(space: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many blocks an unlimited selection has in a dataset of this shape, and how many voxels any has."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 1, prod(shape)
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return 1, int(space.get_select_npoints())
    blocks, voxels = 1, 1
    for start, stride, count, block, side in zip(*space.get_regular_hyperslab(), shape, strict=True):
        within = max(0, min(count, ceil((side - start) / stride)))
        last = min(block, side - start - (within - 1) * stride)
        voxels *= (within - 1) * min(block, stride) + last if within else 0
        blocks = within if count == UNLIMITED else blocks
    return blocks, voxels


def _is_unlimited(space: Any) -> bool:
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return False
    _, _, counts, blocks = space.get_regular_hyperslab()
    return UNLIMITED in counts or UNLIMITED in blocks


def _plain(name: str, number: int | None = None) -> str:
    """Return a name in which `%b` is a number and `%%` a percent sign."""
    return re.sub("%[b%]", lambda found: "%" if found[0] == "%%" else str(number), name)


def _is_numbered(name: str) -> bool:
    return "%b" in name.replace("%%", "")


def _highest(dataset: h5py.Dataset, file: str, name: str) -> int:
    """Return the highest number for which there is a file, or a dataset of the same file; -1 for none."""
    if _is_numbered(file):
        pattern = Path(dataset.file.filename).absolute().parent / file
        names, shown = (os.listdir(pattern.parent) if pattern.parent.is_dir() else []), pattern.name
    else:
        names, shown = (list(dataset.file) if file == "." else []), name.strip("/")
    form = re.escape(shown).replace("%%", "%").replace("%b", r"(\d{1,9})")
    return max((int(found[1]) for one in names if (found := re.fullmatch(form, one))), default=-1)
