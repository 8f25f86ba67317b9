"""Percentiles of a volume, exact whatever its size, of its parts.

They are found by counting: integers up to 16 bits value by value; others, as float32, by the upper 16 bits of each
number, and then, where a percentile lies, by the lower ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scripts.errors import InputError

__all__ = ["Survey", "check_percentiles", "count_values", "grey_ends"]

logger = logging.getLogger(__name__)

Survey = Callable[[Sequence[int]], np.ndarray]
"""Gives what `count_values` gives of all voxels of a volume."""

_HALF = 1 << 16


def check_percentiles(percentiles: Sequence[float]) -> None:
    """See that these are two percentiles.

    Raises:
        InputError: they are not.
    """
    if len(percentiles) != 2 or not 0 <= percentiles[0] < percentiles[1] <= 100:
        found = f"intensity_percentiles: found {list(percentiles)}"
        raise InputError(f"{found}; expected two numbers from 0 to 100, the lower one first.")


def grey_ends(survey: Survey, dtype: np.dtype, percentiles: Sequence[float], name: str) -> tuple[float, float]:
    """Return the grey values at two percentiles of a volume, rounded to float32.

    Args:
        survey: counts the volume's values.
        dtype: of the volume.
        percentiles: from 0 to 100, the lower one first.
        name: the file, for messages.

    Raises:
        InputError: all voxels have the same value in float32, or an end is NaN or too large for it.
    """
    ranking = _Ranking(survey, dtype)
    low, high = ends = ranking.percentiles(percentiles)
    if low == high:
        others = ranking.percentiles(percentiles, without=low)
        if others:
            ends = [min(low, others[0]), max(high, others[1])]
            logger.warning(
                "%s: percentiles %s are both %g, the value of %.2f %% of the voxels. Those of the other %d voxels are "
                "taken: %g and %g become the darkest and the brightest grey. Give other intensity_percentiles if "
                "objects are lost.",
                *(name, tuple(percentiles), low, 100 * ranking.share(low), ranking.others(low), *ends),
            )
    if not 0 < ends[1] - ends[0] <= float(np.finfo(np.float32).max):
        raise InputError(
            f"{name}: percentiles {tuple(percentiles)} are {ends[0]:g} and {ends[1]:g}; expected two grey values. Is "
            "it an image? Check the file or dataset."
        )
    return ends[0], ends[1]


def count_values(pieces: Iterable[np.ndarray], uppers: Sequence[int] = ()) -> np.ndarray:
    """Count the voxels of a volume by the halves of their keys.

    A key is a number of 32 bits that grows with the value; of integers up to 16 bits it has an upper half alone.

    Memory: about 20 bytes per voxel of a piece.

    Args:
        pieces: parts of the volume, planes for instance, all of one type.
        uppers: upper halves whose lower halves to count.

    Returns:
        Voxels by the lower half, (len(uppers), 65536) int64, of each of `uppers`; without these, by the upper half,
        (1, 65536).
    """
    counts = np.zeros((max(1, len(uppers)), _HALF), np.int64)
    for piece in pieces:
        if _countable(piece.dtype):
            counts[0] += np.bincount(piece.ravel().astype(np.int64) - np.iinfo(piece.dtype).min, minlength=_HALF)
            continue
        keys = _keys(piece)
        above = keys >> 16
        if not len(uppers):
            counts[0] += np.bincount(above, minlength=_HALF)
        for count, upper in zip(counts, uppers, strict=False):
            count += np.bincount(keys[above == upper] & (_HALF - 1), minlength=_HALF)
    return counts


def _countable(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _keys(voxels: np.ndarray) -> np.ndarray:
    """Numbers of 32 bits, (N,), in the order of the voxels as float32; equal for 0 and -0."""
    bits = (voxels.astype(np.float32).ravel() + np.float32(0)).view(np.int32)
    return bits.view(np.uint32) ^ ((bits >> 31).view(np.uint32) | np.uint32(1 << 31))


class _Ranking:
    """The voxels of a volume in the order of their values."""

    def __init__(self, survey: Survey, dtype: np.dtype) -> None:
        self.survey, self.dtype = survey, dtype
        self.last = np.cumsum(survey(())[0])  # rank of the last voxel of each upper half, plus 1
        self.lasts: dict[int, np.ndarray] = {}  # the same within an upper half, by the lower one
        self.total = int(self.last[-1])

    def percentiles(self, percentiles: Sequence[float], without: float | None = None) -> list[float]:
        """Percentiles, interpolated; of the voxels of another value than `without`. None left: an empty list."""
        below, equal = (self.total, 0) if without is None else self._around(without)
        count = self.total - equal
        ranks = np.asarray(percentiles, np.float64) / 100 * (count - 1)
        whole = [int(rank) for rank in (*np.floor(ranks), *np.ceil(ranks))] if count else []
        values = self._values([rank if rank < below else rank + equal for rank in whole])
        pairs = zip(values[: len(ranks)], values[len(ranks) :], ranks - np.floor(ranks), strict=bool(count))
        return [float(np.float32(first + (second - first) * part)) for first, second, part in pairs]

    def share(self, value: float) -> float:
        """Part of the voxels that have a value."""
        return self._around(value)[1] / self.total

    def others(self, value: float) -> int:
        """Number of voxels that have another value."""
        return self.total - self._around(value)[1]

    def _around(self, value: float) -> tuple[int, int]:
        """How many voxels are below a value, and how many have it."""
        if _countable(self.dtype):
            upper = int(value) - int(np.iinfo(self.dtype).min)
            return self._before(self.last, upper)
        upper, lower = divmod(int(_keys(np.array([value]))[0]), _HALF)
        self._look([upper])
        below, equal = self._before(self.lasts[upper], lower)
        return self._before(self.last, upper)[0] + below, equal

    def _values(self, ranks: Sequence[int]) -> list[float]:
        uppers = [int(upper) for upper in np.searchsorted(self.last, ranks, side="right")]
        if _countable(self.dtype):
            return [float(upper + int(np.iinfo(self.dtype).min)) for upper in uppers]
        self._look(uppers)
        pairs = zip(ranks, uppers, strict=True)
        lowers = [np.searchsorted(self.lasts[u], r - self._before(self.last, u)[0], side="right") for r, u in pairs]
        keys = np.array(uppers, np.uint32) << 16 | np.array(lowers, np.uint32)
        return [float(value) for value in _from_keys(keys)]

    def _look(self, uppers: Sequence[int]) -> None:
        if missing := sorted({*uppers} - {*self.lasts}):
            self.lasts.update(zip(missing, np.cumsum(self.survey(missing), axis=1), strict=True))

    @staticmethod
    def _before(last: np.ndarray, index: int) -> tuple[int, int]:
        below = int(last[index - 1]) if index else 0
        return below, int(last[index]) - below


def _from_keys(keys: np.ndarray) -> np.ndarray:
    """Undo `_keys`."""
    positive = keys >> 31 == 1
    return np.where(positive, keys ^ np.uint32(1 << 31), ~keys).view(np.float32)
