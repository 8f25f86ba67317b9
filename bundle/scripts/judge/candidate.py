"""One candidate judged on crops: score, vetoes and counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from scripts.judge.consistency import Repeated, repeat
from scripts.judge.estimate import Estimate, Tally, estimate
from scripts.judge.evidence import Surroundings
from scripts.judge.grey import seen_by
from scripts.judge.perturbation import FEW
from scripts.judge.veto import vetoes
from scripts.predictor import Predictor
from scripts.volume_io import open_volume
from scripts.volume_io.grid import Box

__all__ = ["Judgement", "VolumeCrops", "counted", "judge_model", "judged"]


@dataclass(frozen=True)
class VolumeCrops:
    """A volume and the crops of it that candidates are judged on.

    Attributes:
        image: name of the file.
        boxes: (z, y, x) of the crops.
        seen: what the image alone says about each.
    """

    image: str
    boxes: Sequence[Box]
    seen: Sequence[Surroundings]


@dataclass(frozen=True)
class Judgement:
    """What is known of a candidate without labels.

    Attributes:
        name: of its file.
        tally: what was counted, of all crops.
        score: with its interval.
        vetoes: what speaks against it, in words.
        crops: instances (z, y, x) of each crop.
        confidences: of the instances of each crop, in the order of their ids, see `Repeated.confidence`.
    """

    name: str
    tally: Tally
    score: Estimate
    vetoes: Sequence[str]
    crops: Sequence[np.ndarray]
    confidences: Sequence[np.ndarray] = ()

    def facts(self) -> dict[str, Any]:
        """What judge.json has of it."""
        by_change = {one.name: round(float(f1), 4) for one, f1 in zip(FEW, self.tally.f1, strict=True)}
        return {
            "name": self.name,
            "score": {key: round(value, 4) for key, value in vars(self.score).items()},
            "certainty": round(float(self.tally.certainty), 4),
            "f1": by_change,
            "vetoes": list(self.vetoes),
            **counted(self.crops),
        }


def counted(crops: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the number of instances in crops (Z, Y, X), and the share of voxels that they fill."""
    voxels = sum(crop.size for crop in crops)
    return {
        "instances": sum(len(np.unique(crop[crop > 0])) for crop in crops),
        "foreground_share": round(sum(np.count_nonzero(crop) for crop in crops) / voxels, 4),
    }


def judge_model(
    predictor: Predictor, volumes: Sequence[VolumeCrops], name: str = "", expected: float | None = None
) -> Judgement:
    """Judge a model on crops of volumes.

    Memory: 40 bytes per voxel of a crop; of the volumes parts are read.

    Args:
        predictor: the model, see `scripts.judge.predictor_of`.
        volumes: what to look at.
        name: what to call it; by default the name of its file.
        expected: see `scripts.judge.veto.vetoes`.

    Raises:
        InputError: a volume is not as expected.
    """
    found: list[Repeated] = []
    for volume in volumes:
        with closing(open_volume(volume.image)) as image:
            see = seen_by(predictor, image)
            found += [repeat(predictor, see(box)) for box in volume.boxes]
    return judged(name or predictor.name, found, volumes, expected)


def judged(
    name: str, found: Sequence[Repeated], volumes: Sequence[VolumeCrops], expected: float | None = None
) -> Judgement:
    """Put together what was found in the crops of volumes, in their order, see `judge_model`."""
    crops = [one.instances for one in found]
    against = vetoes(crops, [seen for volume in volumes for seen in volume.seen], expected)
    tally = Tally.of(found)
    return Judgement(name, tally, estimate(tally), against, crops, [one.confidence for one in found])
