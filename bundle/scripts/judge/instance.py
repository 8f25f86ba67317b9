"""The confidence of each instance of a volume of any size: how often it is found again under perturbations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import fastremap
import numpy as np
from scripts.errors import InputError
from scripts.judge.consistency import best_partners, confidence_from, perturbed
from scripts.judge.evidence import Look
from scripts.judge.grey import seen_by
from scripts.judge.perturbation import FEW, Perturbation
from scripts.judge.place import Place, Search
from scripts.metrics.measure import join, measure
from scripts.predictor import Predictor
from scripts.report.sections import parts_of
from scripts.volume_io import ChunkedVolume
from scripts.volume_io.grid import Box, Grid, shifted

__all__ = ["BLOCK", "BYTES", "Confidence", "block_voxels", "confidence_of", "measured"]

BLOCK = (128, 512, 512)
"""Voxels (z, y, x) of a block at most."""
HALO = (8, 24, 24)
"""Voxels that the network sees around a block at least, so that the block's border makes little difference."""
BYTES = 68
"""Of memory for each voxel of a block with its halo, for 3 maps."""


@dataclass(frozen=True)
class Confidence:
    """What became of instances under perturbations, and what the image says about them.

    Attributes:
        ids: (N,), ascending.
        confidence: (N,) from 0 to 1, see `scripts.judge.consistency.confidence_from`.
        evidence: (N,) share of each that stands out in the image, see `scripts.judge.evidence`; NaN where that is not
            known.
        centres: (N, 3) of each in voxels.
        voxels: (N,) of each.
        lost: objects that are probably there and have no instance.
    """

    ids: np.ndarray
    confidence: np.ndarray
    evidence: np.ndarray
    centres: np.ndarray
    voxels: np.ndarray
    lost: Sequence[Place]


def confidence_of(
    predictor: Predictor,
    image: ChunkedVolume,
    instances: ChunkedVolume,
    block: Sequence[int] = BLOCK,
    perturbations: Sequence[Perturbation] = FEW,
) -> Confidence:
    """Segment a volume under perturbations, block by block, and see which of its instances are found again.

    An instance belongs to the block that its centre is in, and is compared within the block and a halo around it. The
    halo is as wide as half of most instances; what reaches beyond it is left out on both sides. Blocks without an
    instance and without anything that stands out are not segmented.

    Memory: `BYTES` per voxel of a block with its halo, for 3 maps, 220 bytes for each instance, and about 400 MB.

    Args:
        predictor: the model, see `predictor_of`.
        image: (Z, Y, X), of which parts are read.
        instances: of the same shape, 0 for background.
        block: (z, y, x) in voxels at most: blocks are alike in size.
        perturbations: what to change.

    Raises:
        InputError: the block is not three whole numbers above 0, ids are not whole, or all voxels have one value.
    """
    grid = _grid(image.shape, block)
    found = measured(instances)
    centres = found["position"] / np.maximum(found["voxels"], 1)[:, None]
    home = np.ravel_multi_index(tuple((centres.astype(int) // grid.block).T), grid.counts)
    halo = _halo(found["stop"] - found["start"], grid)
    worker = _Worker(predictor, image, instances, perturbations, seen_by(predictor, image), Look.of(image))
    confidence, evidence, lost = np.zeros(len(home)), np.full(len(home), np.nan), list[Place]()
    typical = float(np.median(found["voxels"])) if len(home) else None
    for number in range(len(grid)):
        own, window = home == number, grid.window(number, halo)
        core = shifted(grid.core(number), window)
        confidence[own], evidence[own], places = worker.look_at(number, window, core, found["ids"][own], typical)
        lost += places
    return Confidence(found["ids"], confidence, evidence, centres, found["voxels"], lost)


def block_voxels(shape: Sequence[int]) -> int:
    """Return how many voxels of a volume (Z, Y, X) are worked on at once, where most instances are small."""
    grid = _grid(shape, BLOCK)
    sides = zip(grid.block, HALO, grid.shape, strict=True)
    return math.prod(min(size, side + 2 * halo) for side, halo, size in sides)


@dataclass(frozen=True)
class _Worker:
    """What all blocks are looked at with."""

    predictor: Predictor
    image: ChunkedVolume
    instances: ChunkedVolume
    perturbations: Sequence[Perturbation]
    see: Callable[[Box], object]
    look: Look

    def look_at(
        self, number: int, window: Box, core: Box, ids: np.ndarray, typical: float | None
    ) -> tuple[np.ndarray, np.ndarray, list[Place]]:
        """Confidence and evidence of the instances of a block, and the objects that are lost in it.

        Args:
            number: of the block.
            window: the block with its halo.
            core: the block, counted from where the window starts.
            ids: (N,) of its instances, ascending.
            typical: size of an object in voxels.
        """
        labels = _whole_numbers(self.instances[window], self.instances.name)
        search = Search(labels, self.look.at(self.image[window]))
        evidence = search.evidence(labels, ids)
        there = np.isin(ids, fastremap.unique(labels))  # a ring may lie outside, all around its centre
        iou = np.zeros((len(ids), len(self.perturbations)))
        if len(ids) or search.missed[core].any():
            others = perturbed(self.predictor, self.see(window), self.perturbations, seed=number)
            for column, other in enumerate(others):
                search.ask(other)
                iou[there, column] = best_partners(labels, other, ids[there])[0]
        places = [
            place._replace(position=tuple(at + side.start for at, side in zip(place.position, window, strict=True)))
            for place in search.places(typical)
            if all(side.start <= at < side.stop for at, side in zip(place.position, core, strict=True))
        ]
        return confidence_from(iou), evidence, places


def measured(instances: ChunkedVolume) -> dict[str, np.ndarray]:
    """Measure instances part by part, without maps, see `scripts.metrics.measure.join`."""

    def parts() -> Iterator[dict[str, np.ndarray]]:
        for box, part in parts_of(instances):
            labels = _whole_numbers(part, instances.name)
            yield measure(labels, np.empty((0, *labels.shape)), box, instances.shape)

    return join(parts())


def _whole_numbers(part: np.ndarray, name: str) -> np.ndarray:
    """Labels as whole numbers.

    Raises:
        InputError: fractions, or numbers below 0.
    """
    whole = part if part.dtype.kind in "iu" else part.astype(np.int64)
    if whole.min() < 0 or not np.array_equal(whole, part):
        raise InputError(f"{name}: found {part.dtype} with fractions or negative numbers, expected ids of instances.")
    return whole


def _grid(shape: Sequence[int], block: Sequence[int]) -> Grid:
    """Blocks of one size, none larger than asked for: a narrow rest would have more halo than voxels."""
    counts = Grid.of(shape, block).counts
    return Grid.of(shape, [math.ceil(side / count) for side, count in zip(shape, counts, strict=True)])


def _halo(sides: np.ndarray, grid: Grid) -> tuple[int, int, int]:
    """Voxels around a block: most instances whose centre is in it are whole within them."""
    most = np.percentile(sides, 99, axis=0) / 2 if len(sides) else np.zeros(3)
    z, y, x = np.minimum(np.maximum(HALO, np.ceil(most)), np.maximum(HALO, grid.block)).astype(int).tolist()
    return z, y, x
