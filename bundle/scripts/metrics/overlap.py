"""How many voxels each pair of labels shares, as a sparse table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array, csr_array
from scripts.errors import InputError

__all__ = ["Contingency", "contingency"]

_SLAB_VOXELS = 1 << 22


@dataclass(frozen=True)
class Contingency:
    """How many voxels each pair of labels shares.

    Attributes:
        truth: labels of the truth in ascending order, 0 (background) among them where it occurs.
        prediction: labels of the prediction, likewise.
        table: voxels (truth, prediction), sparse.
    """

    truth: np.ndarray
    prediction: np.ndarray
    table: csr_array

    @cached_property
    def present(self) -> int:
        """Number of true instances."""
        return int(np.count_nonzero(self.truth))

    @cached_property
    def found(self) -> int:
        """Number of predicted instances."""
        return int(np.count_nonzero(self.prediction))

    @cached_property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Voxels of each label of the truth, and of the prediction."""
        return self.table.sum(axis=1), self.table.sum(axis=0)

    @cached_property
    def overlaps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and intersection over union of every pair of instances that overlap."""
        pairs = coo_array(self.table)
        rows, columns = pairs.coords
        true_sizes, predicted_sizes = self.sizes
        iou = pairs.data / (true_sizes[rows] + predicted_sizes[columns] - pairs.data)
        both = (self.truth[rows] > 0) & (self.prediction[columns] > 0)
        return rows[both], columns[both], iou[both]


def contingency(truth: np.ndarray, prediction: np.ndarray) -> Contingency:
    """Count the voxels that each pair of labels shares.

    Args:
        truth: whole numbers from 0 (background) on, of any shape.
        prediction: the same, of the same shape.

    Returns:
        The table, with the labels of its rows and columns.

    Raises:
        InputError: when the shapes differ, or the labels are no whole numbers from 0 on.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape or not truth.size:
        raise InputError(f"found truth {truth.shape} and prediction {prediction.shape}, expected one shape for both.")
    step = _largest(prediction, "prediction") + 1
    if (_largest(truth, "truth") + 1) * step > 2**64:
        raise InputError("the labels are too large to pair, expected ids below 2**32. Renumber them from 1.")
    keys, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for slab_keys, slab_counts in _runs(truth, prediction, step):
        keys, inverse = np.unique(np.concatenate([keys, slab_keys]), return_inverse=True)
        weights = np.concatenate([counts, slab_counts])
        counts = np.bincount(inverse, weights, len(keys)).astype(np.int64)
    true_ids, rows = np.unique(keys // np.uint64(step), return_inverse=True)
    predicted_ids, columns = np.unique(keys % np.uint64(step), return_inverse=True)
    table = csr_array((counts, (rows, columns)), shape=(len(true_ids), len(predicted_ids)))
    return Contingency(true_ids, predicted_ids, table)


def _largest(labels: np.ndarray, name: str) -> int:
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(f"{name}: found {labels.dtype}, least {labels.min()}; expected whole numbers from 0 on.")
    return int(labels.max())


def _runs(truth: np.ndarray, prediction: np.ndarray, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of labels, truth x step + prediction, and the lengths of their runs along the last axis, slab by slab."""
    rows = max(1, _SLAB_VOXELS * len(truth) // truth.size)
    for start in range(0, len(truth), rows):
        one, other = truth[start : start + rows].ravel(), prediction[start : start + rows].ravel()
        first = np.flatnonzero(np.r_[True, (one[1:] != one[:-1]) | (other[1:] != other[:-1])])
        keys = one[first].astype(np.uint64) * np.uint64(step) + other[first].astype(np.uint64)
        yield keys, np.diff(first, append=len(one))
