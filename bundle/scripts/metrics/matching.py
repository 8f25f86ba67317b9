"""True and predicted instances matched by their overlap, and the average precisions that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scripts.errors import InputError
from scripts.metrics.overlap import Contingency, contingency

__all__ = ["Matching", "match_instances", "match_table", "rank_precision", "ratio"]

_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Matching:
    """Truth and prediction matched one to one at an IoU threshold; ratios of nothing to nothing are 1.

    Attributes:
        threshold: least intersection over union of a matched pair.
        true_positives: matched pairs.
        false_positives: predicted instances without a partner.
        false_negatives: true instances without a partner.
        precision: TP / (TP + FP).
        recall: TP / (TP + FN).
        f1: 2 TP / (2 TP + FP + FN).
        ap: TP / (TP + FP + FN), the average precision of StarDist and of the Data Science Bowl 2018.
        mean_matched_iou: mean intersection over union of the matched pairs, 0 where there are none.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float
    recall: float
    f1: float
    ap: float
    mean_matched_iou: float


def match_instances(truth: np.ndarray, prediction: np.ndarray, threshold: float = 0.5) -> Matching:
    """Match instances one to one: as many pairs as possible, among these the largest sum of IoU.

    Args:
        truth: whole numbers from 0 (background) on, of any shape.
        prediction: the same, of the same shape.
        threshold: least intersection over union of a pair, above 0 and at most 1.

    Returns:
        Counts and ratios.

    Raises:
        InputError: when the volumes or the threshold do not fit.
    """
    return match_table(contingency(truth, prediction), threshold)


def match_table(shared: Contingency, threshold: float) -> Matching:
    """:func:`match_instances` of a table."""
    rows, columns, iou = _candidates(shared, threshold)
    kept = _one_to_one(rows, columns, iou)
    hits = len(kept)
    extra, missed = shared.found - hits, shared.present - hits
    return Matching(
        threshold=threshold,
        true_positives=hits,
        false_positives=extra,
        false_negatives=missed,
        precision=ratio(hits, hits + extra),
        recall=ratio(hits, hits + missed),
        f1=ratio(2 * hits, 2 * hits + extra + missed),
        ap=ratio(hits, hits + extra + missed),
        mean_matched_iou=float(iou[kept].mean()) if hits else 0.0,
    )


def _candidates(shared: Contingency, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and IoU of the pairs that reach the threshold."""
    if not 0 < threshold <= 1:
        raise InputError(f"threshold: found {threshold}, expected an IoU above 0 and at most 1.")
    rows, columns, iou = shared.overlaps
    reached = iou >= threshold
    return rows[reached], columns[reached], iou[reached]


def _one_to_one(rows: np.ndarray, columns: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Positions of the pairs kept: most pairs first, then most IoU.

    Above an IoU of 0.5 every instance has one candidate at most. Below, each cluster of rivals is solved by itself.
    """
    if not len(rows):
        return np.empty(0, np.intp)
    true_ids, left = np.unique(rows, return_inverse=True)
    _, right = np.unique(columns, return_inverse=True)
    nodes = len(true_ids) + right.max() + 1
    graph = coo_array((np.ones(len(left)), (left, len(true_ids) + right)), shape=(nodes, nodes))
    cluster = connected_components(graph, directed=False)[1][left]
    order = np.argsort(cluster, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    return np.concatenate([group if len(group) == 1 else _assign(group, left, right, iou) for group in groups])


def _assign(group: np.ndarray, left: np.ndarray, right: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """The best of a few rival pairs, by the Hungarian method."""
    (lefts, i), (rights, j) = (np.unique(side[group], return_inverse=True) for side in (left, right))
    gain = np.zeros((len(lefts), len(rights)))
    gain[i, j] = 1 + iou[group] / (2 * min(gain.shape))  # all IoU together weigh less than one pair more
    position = np.full(gain.shape, -1)
    position[i, j] = group
    chosen = position[linear_sum_assignment(gain, maximize=True)]
    return chosen[chosen >= 0]


def rank_precision(shared: Contingency, threshold: float) -> float:
    """Return the average precision in the way of COCO: the area under precision over recall, read at 101 recalls.

    Labels have no confidence, so the largest instances come first, as in the evaluation of NucMM and NucExM
    (``mAP_3Dvolume``). Not to be mixed up with :attr:`Matching.ap`. It is 1 where nothing is to be found and nothing
    was.

    Raises:
        InputError: the threshold is not above 0 and at most 1.
    """
    rows, columns, iou = _candidates(shared, threshold)
    if not shared.present or not shared.found:
        return float(shared.present == shared.found)
    sizes = np.where(shared.prediction > 0, shared.sizes[1], -1)
    ranking = np.argsort(-sizes, kind="stable")[: shared.found]
    hit = np.isin(ranking, list(_greedy(rows, columns, iou, sizes)))
    hits = np.cumsum(hit)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    at = np.searchsorted(hits / shared.present, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[at].mean())


def _greedy(rows: np.ndarray, columns: np.ndarray, iou: np.ndarray, sizes: np.ndarray) -> set[int]:
    """Columns that get a partner when each, largest first, takes the best of the rows that are left."""
    taken: set[int] = set()
    matched: set[int] = set()
    for pair in np.lexsort((-iou, columns, -sizes[columns])):
        row, column = int(rows[pair]), int(columns[pair])
        if column not in matched and row not in taken:
            taken.add(row)
            matched.add(column)
    return matched


def ratio(part: float, whole: float) -> float:
    """Part of the whole; 1 where both are nothing."""
    return float(part / whole) if whole else 1.0
