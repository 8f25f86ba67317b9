"""Scores of small segmentations counted by hand, and slow or independent ones for larger."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from scripts.errors import InputError
from scripts.metrics import Matching, contingency, match_instances, score_instances
from scripts.metrics.matching import rank_precision
from skimage.metrics import adapted_rand_error, variation_of_information

# three instances of 4, 4 and 2 voxels; of the predicted, 5 shares 3 of 4 with 1, 6 equals 3, 7 and 8 halve 2
TRUTH = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0, 3, 3]])
PREDICTION = np.array([[5, 5, 5, 0, 0, 7, 7, 8, 8, 0, 6, 6]])


def cells(seed: int, shape: tuple[int, ...] = (6, 40, 40), count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two related segmentations into convex cells, with background."""
    rng = np.random.default_rng(seed)
    volumes = []
    points = rng.uniform(0, 1, (count, 3)) * shape
    for shift in (0, 1.5):
        seeds = np.zeros(shape, int)
        places = np.clip(points + rng.normal(0, shift + 1e-9, points.shape), 0, np.array(shape) - 1).astype(int)
        seeds[tuple(places.T)] = 1 + rng.permutation(count) * 3
        distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
        volumes.append(seeds[tuple(nearest)] * (distance < 4))
    return volumes[0], volumes[1]


def iou_table(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Slow oracle: intersection over union of every pair of instances."""
    rows, columns = np.unique(truth[truth > 0]), np.unique(prediction[prediction > 0])
    table = np.zeros((len(rows), len(columns)))
    for i, j in np.ndindex(table.shape):
        one, other = truth == rows[i], prediction == columns[j]
        table[i, j] = (one & other).sum() / (one | other).sum()
    return table


def slow_coco(truth: np.ndarray, prediction: np.ndarray, threshold: float) -> float:
    """The loop of COCO's evaluation, with sizes for confidences."""
    table = iou_table(truth, prediction)
    ids, sizes = np.unique(prediction[prediction > 0], return_counts=True)
    free = np.ones(len(table), bool)
    hits = []
    for column in sorted(range(len(ids)), key=lambda j: (-sizes[j], j)):
        best = max((row for row in range(len(table)) if free[row]), key=lambda row: table[row, column], default=None)
        hits.append(best is not None and table[best, column] >= threshold)
        if hits[-1]:
            free[best] = False
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    recall = [sum(hits[: n + 1]) / len(table) for n in range(len(hits))]
    read = [
        max((p for p, r in zip(precision, recall, strict=True) if r >= at), default=0) for at in np.linspace(0, 1, 101)
    ]
    return float(np.mean(read))


def test_a_prediction_is_counted_as_by_hand() -> None:
    result = match_instances(TRUTH, PREDICTION)  # 1-5 at 0.75, 3-6 at 1, 2-7 or 2-8 at 0.5
    assert (result.true_positives, result.false_positives, result.false_negatives) == (3, 1, 0)
    assert (result.precision, result.recall, result.ap) == (0.75, 1, 0.75)
    assert result.f1 == pytest.approx(6 / 7)
    assert result.mean_matched_iou == pytest.approx((0.75 + 1 + 0.5) / 3)


def test_a_higher_threshold_asks_for_more() -> None:
    result = match_instances(TRUTH, PREDICTION, 0.75)
    assert (result.true_positives, result.false_positives, result.false_negatives) == (2, 2, 1)
    assert (result.precision, result.recall, result.f1, result.ap) == (0.5, 2 / 3, 4 / 7, 0.4)
    assert match_instances(TRUTH, PREDICTION, 0.76).true_positives == 1
    assert match_instances(TRUTH, PREDICTION, 1.0).true_positives == 1


def test_the_truth_itself_is_perfect() -> None:
    truth, _ = cells(0)
    scores = score_instances(truth, truth + 1000 * (truth > 0))
    ideal_zero = {"adapted_rand_error", "vi_split", "vi_merge"}
    counted = {"found", "present"}
    assert scores["found"] == scores["present"] == len(np.unique(truth)) - 1
    for name, value in scores.items():
        assert name in counted or value == pytest.approx(0 if name in ideal_zero else 1), name


def test_two_halves_of_one_truth_match_once() -> None:
    result = match_instances(np.array([1, 1, 1, 1]), np.array([1, 1, 2, 2]))
    assert (result.true_positives, result.false_positives, result.false_negatives) == (1, 1, 0)


def test_low_thresholds_match_the_most_pairs_not_the_best_first() -> None:
    truth = np.array([1] * 5 + [2] * 5)
    prediction = np.array([8] * 2 + [9] * 6 + [0] * 2)  # 9 shares 3 of 8 with 1 and 3 of 8 with 2; 8 only 2 of 5 with 1
    result = match_instances(truth, prediction, 0.3)
    assert result.true_positives == 2
    assert result.mean_matched_iou == pytest.approx((2 / 5 + 3 / 8) / 2)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_matching_equals_trying_everything(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = (np.sort(rng.integers(0, 6, 60)) for _ in range(2))
    table = iou_table(truth, prediction)
    table = np.pad(table, ((0, 5 - table.shape[0]), (0, 5 - table.shape[1])))
    best = (0, 0.0)
    for order in itertools.permutations(range(5)):
        kept = [iou for iou in table[range(5), order] if iou >= threshold]
        best = max(best, (len(kept), sum(kept)))
    result = match_instances(truth, prediction, threshold)
    assert result.true_positives == best[0]
    assert result.mean_matched_iou * result.true_positives == pytest.approx(best[1])


def test_ids_names_and_types_do_not_matter() -> None:
    truth, prediction = cells(1)
    expected = score_instances(truth, prediction)
    renamed = np.random.default_rng(0).permutation(200)[prediction] + 1
    renamed = np.where(prediction > 0, renamed.astype(np.uint32) + 2**31, 0)
    assert score_instances(truth.astype(np.uint8), prediction.astype(np.uint16)) == expected
    again = score_instances(truth[::-1, :, ::-1], renamed[::-1, :, ::-1])
    assert {k: v for k, v in again.items() if "coco" not in k} == pytest.approx(  # equal sizes are ranked by id there
        {k: v for k, v in expected.items() if "coco" not in k}
    )


def test_the_table_holds_every_voxel() -> None:
    truth, prediction = cells(2)
    shared = contingency(truth, prediction)
    assert shared.table.sum() == truth.size
    assert (shared.present, shared.found) == (len(np.unique(truth)) - 1, len(np.unique(prediction)) - 1)
    for i, j in np.ndindex(shared.table.shape):
        both = (truth == shared.truth[i]) & (prediction == shared.prediction[j])
        assert shared.table[i, j] == both.sum()


def test_the_table_of_slabs_is_the_table_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction = cells(3)
    whole = contingency(truth, prediction).table.toarray()
    monkeypatch.setattr("scripts.metrics.overlap._SLAB_VOXELS", 1700)
    np.testing.assert_array_equal(contingency(truth, prediction).table.toarray(), whole)


def test_large_volumes_need_little_memory() -> None:
    truth = np.arange(1 << 24, dtype=np.uint32).reshape(64, 512, 512) // (1 << 12)
    tracemalloc.start()
    contingency(truth, truth)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < truth.nbytes


@pytest.mark.parametrize("seed", range(3))
def test_rand_error_and_information_equal_scikit_image(seed: int) -> None:
    truth, prediction = cells(seed)
    scores = score_instances(truth, prediction)
    assert scores["adapted_rand_error"] == pytest.approx(adapted_rand_error(truth, prediction)[0])
    split, merge = variation_of_information(truth, prediction)
    assert (scores["vi_split"], scores["vi_merge"]) == pytest.approx((split, merge))


def test_a_split_is_a_split_and_a_merge_a_merge() -> None:
    scores = score_instances(np.array([1, 1, 1, 1]), np.array([1, 1, 2, 2]))
    assert (scores["vi_split"], scores["vi_merge"]) == pytest.approx((1, 0))
    scores = score_instances(np.array([1, 1, 2, 2]), np.array([1, 1, 1, 1]))
    assert (scores["vi_split"], scores["vi_merge"]) == pytest.approx((0, 1))


def test_dice_is_that_of_the_foregrounds() -> None:
    assert score_instances(TRUTH, PREDICTION)["dice"] == pytest.approx(2 * 9 / (10 + 9))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.55, 0.75])
@pytest.mark.parametrize("seed", range(3))
def test_ranked_precision_equals_the_loop_of_coco(seed: int, threshold: float) -> None:
    truth, prediction = cells(seed, (4, 24, 24), 15)
    expected = slow_coco(truth, prediction, threshold)
    assert rank_precision(contingency(truth, prediction), threshold) == pytest.approx(expected)


def test_ranked_precision_takes_the_largest_first() -> None:
    truth = np.array([1, 1, 0, 0, 0])
    assert rank_precision(contingency(truth, np.array([1, 1, 0, 2, 0])), 0.5) == 1  # the wrong one is smaller
    assert rank_precision(contingency(truth, np.array([1, 1, 2, 2, 2])), 0.5) == 0.5  # the wrong one is larger


def test_ranked_precision_counts_recalls_reached() -> None:
    # of two truths one is found: precision 1 at recalls 0 to 0.5, that is 51 of 101
    assert rank_precision(contingency(np.array([1, 1, 2, 2]), np.array([1, 1, 0, 0])), 0.5) == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [([0, 0], [0, 0], (1, 1, 1, 1)), ([0, 1], [0, 0], (0, 1, 0, 0)), ([0, 0], [0, 1], (0, 0, 1, 0))],
)
def test_nothing_is_scored_without_dividing_by_it(truth: list, prediction: list, expected: tuple) -> None:
    result = match_instances(np.array(truth), np.array(prediction))
    assert (result.ap, result.precision, result.recall, result.f1) == expected
    assert result.mean_matched_iou == 0
    scores = score_instances(np.array(truth), np.array(prediction))
    assert np.isfinite(list(scores.values())).all()
    assert scores["coco_ap50"] == scores["ap50"] == result.ap


def test_all_scores_have_their_names_and_can_be_written() -> None:
    scores = score_instances(TRUTH, PREDICTION)
    assert set(scores) == {
        *(f"ap{percent}" for percent in range(50, 100, 5)),
        *(f"{name}_{percent}" for name in ("precision", "recall", "f1") for percent in (50, 75)),
        *("mean_ap", "coco_ap50", "coco_ap75", "coco_map", "mean_matched_iou"),
        *("adapted_rand_error", "vi_split", "vi_merge", "dice", "found", "present"),
    }
    assert json.loads(json.dumps(scores)) == scores
    assert scores["mean_ap"] == pytest.approx(np.mean([scores[f"ap{percent}"] for percent in range(50, 100, 5)]))
    assert (scores["found"], scores["present"], scores["ap50"], scores["ap75"]) == (4, 3, 0.75, 0.4)


def test_results_cannot_be_changed() -> None:
    result = match_instances(TRUTH, PREDICTION)
    assert isinstance(result, Matching)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.ap = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "one shape"),
        (np.zeros(0, int), np.zeros(0, int), "one shape"),
        (np.zeros(3), np.zeros(3, int), "truth: found float64"),
        (np.zeros(3, int), np.array([0, -1, 0]), "prediction: found int64, least -1"),
        (np.full(3, 2**63, np.uint64), np.full(3, 2**63, np.uint64), "too large"),
    ],
)
def test_volumes_that_do_not_fit_are_refused(truth: np.ndarray, prediction: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_instances(truth, prediction)


@pytest.mark.parametrize("threshold", [0.0, 1.1, -0.5])
def test_thresholds_that_cannot_be_are_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        match_instances(TRUTH, PREDICTION, threshold)
    with pytest.raises(InputError, match="threshold"):
        rank_precision(contingency(TRUTH, PREDICTION), threshold)
