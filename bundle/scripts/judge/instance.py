"""The confidence of each instance of a volume of any size: how often it is found again under perturbations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scripts.errors import InputError
from scripts.judge.consistency import AGAIN, best_partners, perturbed
from scripts.judge.grey import seen_by
from scripts.judge.perturbation import PERTURBATIONS, Perturbation
from scripts.metrics.measure import join, measure
from scripts.predictor import Predictor
from scripts.report.sections import parts_of
from scripts.volume_io import ChunkedVolume
from scripts.volume_io.grid import Box, Grid

__all__ = ["BLOCK", "Confidence", "confidence_of", "measured"]

BLOCK = (128, 256, 256)
"""Voxels (z, y, x) of a block."""
HALO = (16, 32, 32)
"""Voxels that the network sees around a block at least, so that the block's border makes little difference."""


@dataclass(frozen=True)
class Confidence:
    """What became of instances under perturbations.

    Attributes:
        ids: (N,), ascending.
        confidence: (N,) share of the perturbations under which each is found again, IoU above 0.5.
    """

    ids: np.ndarray
    confidence: np.ndarray


def confidence_of(
    predictor: Predictor,
    image: ChunkedVolume,
    instances: ChunkedVolume,
    block: Sequence[int] = BLOCK,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> Confidence:
    """Segment a volume under perturbations, block by block, and see which of its instances are found again.

    An instance belongs to the block that its centre is in, and is compared within the block and a halo around it. The
    halo is as wide as most instances; what reaches beyond it is left out on both sides.

    Memory: 40 bytes per voxel of a block with its halo, for 3 maps, and 220 bytes for each instance.

    Args:
        predictor: the model, see `predictor_of`.
        image: (Z, Y, X), of which parts are read.
        instances: of the same shape, 0 for background.
        block: (z, y, x) in voxels.
        perturbations: what to change.

    Raises:
        InputError: the block is not three whole numbers above 0, ids are not whole, or all voxels have one value.
    """
    grid = Grid.of(image.shape, block)
    found = measured(instances)
    centres = (found["position"] / np.maximum(found["voxels"], 1)[:, None]).astype(int)
    home = np.ravel_multi_index(tuple((centres // grid.block).T), grid.counts)
    halo, see = _halo(found["stop"] - found["start"], grid), seen_by(predictor, image)
    confidence = np.zeros(len(home))
    for number in np.unique(home).tolist():
        window, own = grid.window(number, halo), home == number
        labels = _labels(instances, window)
        others = perturbed(predictor, see(window), perturbations, seed=number)
        again = [best_partners(labels, other, found["ids"][own])[0] > AGAIN for other in others]
        confidence[own] = np.mean(again, axis=0)
    return Confidence(found["ids"], confidence)


def measured(instances: ChunkedVolume) -> dict[str, np.ndarray]:
    """Measure instances part by part, without maps, see `scripts.metrics.measure.join`."""

    def parts() -> Iterator[dict[str, np.ndarray]]:
        for box, part in parts_of(instances):
            labels = _whole_numbers(part, instances.name)
            yield measure(labels, np.empty((0, *labels.shape)), box, instances.shape)

    return join(parts())


def _labels(instances: ChunkedVolume, box: Box) -> np.ndarray:
    return _whole_numbers(instances[box], instances.name)


def _whole_numbers(part: np.ndarray, name: str) -> np.ndarray:
    """Labels as whole numbers.

    Raises:
        InputError: fractions, or numbers below 0.
    """
    whole = part if part.dtype.kind in "iu" else part.astype(np.int64)
    if whole.min() < 0 or not np.array_equal(whole, part):
        raise InputError(f"{name}: found {part.dtype} with fractions or negative numbers, expected ids of instances.")
    return whole


def _halo(sides: np.ndarray, grid: Grid) -> tuple[int, int, int]:
    """Voxels around a block: most instances whose centre is in it are whole within them."""
    most = np.percentile(sides, 99, axis=0) if len(sides) else np.zeros(3)
    z, y, x = np.minimum(np.maximum(HALO, most), np.maximum(HALO, grid.block)).astype(int).tolist()
    return z, y, x
