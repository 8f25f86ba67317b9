"""How far the judge's score can be believed: models scored without labels, beside their scores against labels.

    .venv/bin/python tools/judging.py --image Y.tif --label labelY.tif --models source_only.pt,a.pt,b.pt

The first model is what the judge falls back to. Labels are used for the comparison and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scipy.stats import rankdata, spearmanr
from scripts.command.start import start
from scripts.judge.candidate import Judgement, judge_model
from scripts.judge.choice import choose
from scripts.judge.command import line_of
from scripts.judge.consistency import AGAIN, predictor_of
from scripts.judge.crop import COUNT
from scripts.judge.volume import labelled_solidity, volume_crops
from scripts.metrics import contingency, match_instances
from scripts.volume_io import read_label

from spoiled import spoiled

__all__ = ["believe"]


def believe(
    image: str,
    label: str,
    models: Sequence[str],
    crops: int = COUNT,
    size: Sequence[int] | None = None,
    label_x: Sequence[str] = (),
    spoil: bool = False,
) -> dict[str, float]:
    """Print each model's score and its AP on the same crops, and how both rank the models.

    Args:
        image: volume of Y.
        label: its instances.
        models: files of weights, the one to fall back to first.
        crops: looked at.
        size: of a crop, z,y,x in voxels; by default as `scripts.judge` has it.
        label_x: instances of X, for the veto by their shape.
        spoil: also judge copies of the last model that are spoiled on purpose. They count for the choice alone.
    """
    predictors = [predictor_of(model) for model in models]
    volume = volume_crops(image, size, crops, predictors)
    truth = [read_label(label, image)[box] for box in volume.boxes]
    expected = labelled_solidity(label_x)
    judged, scores = [], []
    for predictor in [*predictors, *(spoiled(predictors[-1]) if spoil else ())]:
        judged.append(judge_model(predictor, [volume], expected=expected))
        scores.append([_precision(judged[-1], truth, threshold) for threshold in (0.5, 0.75)])
        print(f"{line_of(judged[-1])}; AP-50 {scores[-1][0]:.3f}, AP-75 {scores[-1][1]:.3f}", end="; ", flush=True)
        print(f"AUROC of confidence {_area(judged[-1], truth):.2f}", flush=True)
    ap50, ap75 = np.transpose(scores)
    score, chosen = [one.score.value for one in judged], choose(judged).number
    found = {
        "Spearman with AP-50": float(spearmanr(score[: len(models)], ap50[: len(models)]).statistic),
        "Spearman with AP-75": float(spearmanr(score[: len(models)], ap75[: len(models)]).statistic),
        "regret": float(ap50.max() - ap50[chosen]),
        "gain over the first": float(ap50[chosen] - ap50[0]),
    }
    print(", ".join(f"{name} {value:.2f}" for name, value in found.items()), f"chosen {judged[chosen].name}", sep=", ")
    return found


def _precision(judged: Judgement, truth: Sequence[np.ndarray], threshold: float) -> float:
    """AP over all crops."""
    each = [match_instances(t, crop, threshold) for t, crop in zip(truth, judged.crops, strict=True)]
    hits = sum(one.true_positives for one in each)
    return hits / max(1, hits + sum(one.false_positives + one.false_negatives for one in each))


def _area(judged: Judgement, truth: Sequence[np.ndarray]) -> float:
    """Chance that a right instance has a higher confidence than a wrong one."""
    right = np.concatenate([_right(t, crop) for t, crop in zip(truth, judged.crops, strict=True)])
    if right.all() or not right.any():
        return float("nan")
    ranks, hits = rankdata(np.concatenate(judged.confidences)), right.sum()
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * (~right).sum()))


def _right(truth: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """For each instance, in the order of ids, whether it has a true partner."""
    shared = contingency(crop, truth)
    rows, _, iou = shared.overlaps
    best = np.zeros(len(shared.truth))
    np.maximum.at(best, rows, iou)
    return best[shared.truth > 0] > AGAIN


if __name__ == "__main__":
    start(believe)
