"""All scores of a segmentation at once."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scripts.metrics.matching import match_table, rank_precision, ratio
from scripts.metrics.overlap import Contingency, contingency

__all__ = ["THRESHOLDS", "score_instances"]

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))


def score_instances(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float | int]:
    """All scores of a prediction.

    ``ap50`` to ``ap95``, their mean ``mean_ap``; ``precision_``, ``recall_``, ``f1_`` and ``mean_matched_iou`` at 50
    and 75 (``mean_matched_iou`` alone: at 50); ``coco_ap50``, ``coco_ap75`` and ``coco_map`` (0.50 to 0.95), see
    `scripts.metrics.matching.rank_precision`; ``adapted_rand_error`` over the voxels of the truth's instances and
    ``vi_split``, ``vi_merge`` in bits over all voxels, as scikit-image has them; ``dice`` of the two foregrounds;
    instances ``found`` and ``present``.

    Args:
        truth: whole numbers from 0 (background) on, of any shape.
        prediction: the same, of the same shape.

    Returns:
        Plain numbers by name.

    Raises:
        InputError: when the volumes do not fit.
    """
    shared = contingency(truth, prediction)
    matchings = {round(100 * threshold): match_table(shared, threshold) for threshold in THRESHOLDS}
    coco = {round(100 * threshold): rank_precision(shared, threshold) for threshold in THRESHOLDS}
    scores: dict[str, float | int] = {f"ap{percent}": one.ap for percent, one in matchings.items()}
    scores["mean_ap"] = float(np.mean([one.ap for one in matchings.values()]))
    for percent in (50, 75):
        one = matchings[percent]
        scores |= {f"precision_{percent}": one.precision, f"recall_{percent}": one.recall, f"f1_{percent}": one.f1}
    scores["mean_matched_iou"] = matchings[50].mean_matched_iou
    scores |= {"coco_ap50": coco[50], "coco_ap75": coco[75], "coco_map": float(np.mean(list(coco.values())))}
    scores["adapted_rand_error"] = _adapted_rand_error(shared)
    split, merge = _variation_of_information(shared)
    scores |= {"vi_split": split, "vi_merge": merge, "dice": _dice(shared)}
    return scores | {"found": shared.found, "present": shared.present}


def _adapted_rand_error(shared: Contingency) -> float:
    """Share of the pairs of voxels that are together in one of the two alone, over the voxels of true instances.

    The formula of ``skimage.metrics.adapted_rand_error``, whose argument `table` changed its type between versions.
    Where there is no pair to compare, 0 if nothing was found either, else 1.
    """
    inside = shared.table[shared.truth > 0].astype(float)
    total = inside.sum()
    together, in_truth, in_prediction = (
        np.square(counts).sum() - total for counts in (inside.data, inside.sum(axis=1), inside.sum(axis=0))
    )
    pairs = in_truth + in_prediction
    return float(1 - 2 * together / pairs) if pairs else float(shared.found > 0 and not shared.present)


def _variation_of_information(shared: Contingency) -> tuple[float, float]:
    """Conditional entropies in bits: of the prediction given the truth (split), of the truth given it (merge).

    As ``skimage.metrics.variation_of_information``, whose argument `table` fails in the versions we use.
    """
    pairs = coo_array(shared.table)
    rows, columns = pairs.coords
    share = pairs.data / pairs.data.sum()
    true_sizes, predicted_sizes = shared.sizes
    split = share @ np.log2(true_sizes[rows] / pairs.data)
    merge = share @ np.log2(predicted_sizes[columns] / pairs.data)
    return float(split), float(merge)


def _dice(shared: Contingency) -> float:
    true_sizes, predicted_sizes = shared.sizes
    both = shared.table[shared.truth > 0][:, shared.prediction > 0].sum()
    return ratio(2 * both, true_sizes[shared.truth > 0].sum() + predicted_sizes[shared.prediction > 0].sum())
