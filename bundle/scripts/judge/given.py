"""Instances that another program made: what speaks against them, and how far they agree with the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastremap
import numpy as np
from scripts.check.array import check_label_type
from scripts.errors import InputError
from scripts.judge.candidate import Judgement, VolumeCrops, counted
from scripts.judge.veto import vetoes
from scripts.metrics import match_instances
from scripts.volume_io import ChunkedVolume, list_volumes, open_label, open_volume
from scripts.volume_io.grid import Box
from scripts.volume_io.pattern import check_pairs, has_pattern

__all__ = ["Given", "agreement", "judge_instances", "line_of_given", "listed_instances"]


@dataclass(frozen=True)
class Given:
    """What is known of instances without the model that made them: no score, since nothing can be perturbed.

    Attributes:
        name: of the file; of the first of several volumes.
        vetoes: what speaks against them, in words.
        crops: instances (Z, Y, X) of each crop.
    """

    name: str
    vetoes: Sequence[str]
    crops: Sequence[np.ndarray]

    def facts(self, models: Sequence[Judgement]) -> dict[str, Any]:
        """What judge.json has of it, with the agreement with models that were judged on the same crops."""
        agreed = {one.name: round(agreement(self.crops, one.crops), 4) for one in models}
        return {"name": self.name, "score": None, "agreement": agreed, "vetoes": list(self.vetoes)} | counted(
            self.crops
        )


def listed_instances(files: str | Sequence[str], images: Sequence[str]) -> list[list[str]]:
    """Return the files of each candidate, one for each image, and see that they are labels on the images' grid.

    Only the headers are read, and one plane after the other of floats.

    Args:
        files: a file, a pattern or a list; of several images all files of one candidate come first, in their order.
        images: the volumes.

    Raises:
        InputError: a file is missing or no label, lies elsewhere than its image, or there are too few for the images.
    """
    names = list_volumes(files)
    count = len(images)
    if len(names) % count:
        raise InputError(
            f"--instances: found {len(names)} files for {count} volumes, expected one for each volume: first all of "
            "one candidate in the order of --image, then all of the next."
        )
    groups = [names[start : start + count] for start in range(0, len(names), count)]
    for group in groups:
        if count > 1:
            check_pairs(images, group, sorted_by_name=has_pattern(files))
        for name, image in zip(group, images, strict=True):
            check_label_type(open_label(name, open_volume(image)), name)
    return groups


def judge_instances(files: Sequence[str], volumes: Sequence[VolumeCrops], expected: float | None = None) -> Given:
    """Judge instances in files on crops of their volumes. Only the crops are read, where the format has parts.

    Memory: 12 bytes per voxel of the crops.

    Args:
        files: a label for each volume.
        volumes: what to look at.
        expected: see `scripts.judge.veto.vetoes`.

    Raises:
        InputError: a file cannot be read, or an id is below 0.
    """
    crops = []
    for name, volume in zip(files, volumes, strict=True):
        label = open_label(name, open_volume(volume.image))
        crops += [_crop(label, box, name) for box in volume.boxes]
        label.close()
    against = vetoes(crops, [seen for volume in volumes for seen in volume.seen], expected)
    return Given(files[0], against, crops)


def line_of_given(found: Mapping[str, Any]) -> str:
    """Return the facts of instances in one line: agreement, counts and vetoes."""
    parts = [
        "no score",
        *(f"agrees with {name} by {f1:.3f}" for name, f1 in found["agreement"].items()),
        f"{found['instances']} instances",
        f"{100 * found['foreground_share']:.0f} % foreground",
    ]
    return f"{found['name']}: {', '.join(parts)}" + "".join(f"; VETO: {veto}" for veto in found["vetoes"])


def agreement(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """F1 at an intersection over union of 0.5 between the instances of two candidates, over all crops (Z, Y, X)."""
    found = [match_instances(a, b) for a, b in zip(one, other, strict=True)]
    both = 2 * sum(match.true_positives for match in found)
    alone = sum(match.false_positives + match.false_negatives for match in found)
    return both / (both + alone) if both + alone else 1.0


def _crop(label: ChunkedVolume, box: Box, name: str) -> np.ndarray:
    """Instances of a crop, numbered from 1, because ids of other programs may be too large to pair."""
    crop = np.asarray(label[box])
    if crop.dtype == bool:
        crop = crop.view(np.uint8)
    if crop.size and crop.min() < 0:
        raise InputError(f"{name}: found the id {crop.min()}, expected none below 0. Set negative ids to 0.")
    return np.asarray(fastremap.renumber(crop)[0])
