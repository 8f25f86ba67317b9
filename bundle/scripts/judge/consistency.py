"""Segment a crop as it is and under perturbations, and see which instances are found again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_numpy
from scripts.judge.perturbation import FEW, Perturbation
from scripts.metrics import contingency
from scripts.metrics.measure import join, measure
from scripts.predictor import Predictor

__all__ = [
    "AGAIN",
    "OVERLAP",
    "Repeated",
    "best_partners",
    "compared",
    "confidence_from",
    "decoding",
    "maps_of",
    "perturbed",
    "perturbed_maps",
    "predictor_of",
    "repeat",
]

AGAIN = 0.5
"""An instance is found again where another one has an intersection over union with it above this."""
LEVELS = (0.5, 0.6, 0.7, 0.8)
"""Intersections over union at which an instance counts as found again, for its confidence."""
OVERLAP = 0.125
"""Of windows while judging: a fifth of the windows that 0.5 has, whatever the plan of the model says."""
TILE = 32
"""Side in voxels of the cubes that a score's margin of error is drawn from."""


@dataclass(frozen=True)
class Repeated:
    """Instances of a crop, and what became of them under P perturbations.

    Attributes:
        instances: (Z, Y, X) of the volume as it is.
        ids: (N,) of the instances.
        iou: (N, P) intersection over union with the best partner under each perturbation, 0 where there is none.
        counts: (T, P, 2) for each tile of the crop: instances found again, of both segmentations; and how many both
            have. F1 is the one divided by the other.
        certain: (T, 2) for each tile: voxels of instances, less those that foreground and background share (the sum of
            the smaller of p and 1 - p over the foreground map); and voxels of instances.
    """

    instances: np.ndarray
    ids: np.ndarray
    iou: np.ndarray
    counts: np.ndarray
    certain: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """(N,) of each instance, see `confidence_from`."""
        return confidence_from(self.iou)


def confidence_from(iou: np.ndarray) -> np.ndarray:
    """Return how far instances can be trusted, (N,) from 0 to 1: the share of perturbations that find each again.

    It is the mean of the shares at the intersections over union `LEVELS`: an instance that is found again with another
    outline is trusted less than one that stays as it is.

    Args:
        iou: (N, P) with the best partner under each of P perturbations.
    """
    return np.mean([(iou > level).mean(axis=1) for level in LEVELS], axis=0)


def predictor_of(model: Any, overlap: float = OVERLAP) -> Predictor:
    """Return a model as it is judged: with windows that overlap little, and without progress bars.

    Args:
        model: model.pt by its name, or a state dict.
        overlap: of windows.

    Raises:
        InputError: as `Predictor.of`.
    """
    return Predictor.of(model, {"overlap": overlap}, {"inferer::progress": False, "decode::progress": False})


def repeat(predictor: Predictor, volume: Any, perturbations: Sequence[Perturbation] = FEW, seed: int = 0) -> Repeated:
    """Segment a crop once as it is, and once under each perturbation.

    Memory: 40 bytes per voxel, for 3 maps.

    Args:
        predictor: the model.
        volume: (1, 1, Z, Y, X) in [-1, 1], a tensor or a MetaTensor whose metadata say the voxel size.
        perturbations: what to change.
        seed: of noise and dropout.
    """
    others = perturbed_maps(predictor, volume, perturbations, seed)
    return compared(maps_of(predictor, volume), others, decoding(predictor))


def compared(maps: Any, others: Iterable[Any], decode: Callable[[Any], np.ndarray]) -> Repeated:
    """See which instances of a crop are found again.

    Args:
        maps: (C, Z, Y, X) of the crop as it is, bytes, foreground first.
        others: maps of the crop under each perturbation.
        decode: maps to instances (Z, Y, X).
    """
    instances = decode(maps)
    ids, tiles = _tiles(instances)
    columns, counts = [], []
    for other in map(decode, others):
        of_first, of_other = best_partners(instances, other, ids)
        columns.append(of_first)
        counts.append(_counted(tiles, of_first) + _counted(_tiles(other)[1], of_other))
    found = np.stack(columns, axis=1), np.stack(counts, axis=1)
    return Repeated(instances, ids, *found, _certain(convert_to_numpy(maps[0]), instances))


def perturbed(
    predictor: Predictor, volume: Any, perturbations: Sequence[Perturbation] = FEW, seed: int = 0
) -> Iterator[np.ndarray]:
    """Give the instances (Z, Y, X) of a crop under each perturbation, see `repeat`."""
    yield from map(decoding(predictor), perturbed_maps(predictor, volume, perturbations, seed))


def perturbed_maps(
    predictor: Predictor, volume: Any, perturbations: Sequence[Perturbation], seed: int = 0
) -> Iterator[Any]:
    """Give the maps (C, Z, Y, X) of a crop under each perturbation, see `repeat`."""
    for number, perturbation in enumerate(perturbations):
        generator = torch.Generator().manual_seed(seed * len(perturbations) + number)
        with perturbation.within(predictor.network, generator):
            yield maps_of(predictor, perturbation.change(volume, generator), perturbation.turned)


def maps_of(predictor: Predictor, volume: Any, turned: bool = False) -> Any:
    """Maps (C, Z, Y, X) of a crop, bytes with metadata; where it was turned by 180°, they are turned back."""
    maps = predictor.part("inferer")(volume.to(predictor.part("device")), predictor.network)[0]
    return predictor.part("maps_alone")({"pred": maps.flip(-1, -2) if turned else maps})["maps"]


def decoding(predictor: Predictor) -> Callable[[Any], np.ndarray]:
    """Return what makes instances (Z, Y, X) of maps."""
    decode = predictor.part("decode")
    return lambda maps: convert_to_numpy(decode({"maps": maps})["instances"])[0]


def best_partners(first: np.ndarray, other: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest IoU of each instance of the first, in the order of `ids`, and of each of the other."""
    shared = contingency(first, other)
    rows, columns, iou = shared.overlaps
    best, best_of_other = np.zeros(len(shared.truth)), np.zeros(len(shared.prediction))
    np.maximum.at(best, rows, iou)
    np.maximum.at(best_of_other, columns, iou)
    return best[np.searchsorted(shared.truth, ids)], best_of_other[shared.prediction > 0]


def _certain(foreground: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """See `Repeated.certain`; `foreground` is uint8."""
    unsure = np.minimum(foreground, 255 - foreground)
    tiles = _tile_counts(instances.shape)
    sums = []
    for volume in (unsure, instances > 0):
        for axis, count in enumerate(tiles):
            starts = [side * volume.shape[axis] // count for side in range(count)]
            volume = np.add.reduceat(volume, starts, axis=axis, dtype=np.int64)
        sums.append(volume.ravel())
    return np.stack([sums[1] - sums[0] / 255, sums[1]], axis=1)


def _tile_counts(shape: Sequence[int]) -> list[int]:
    return [max(1, round(side / TILE)) for side in shape]


def _tiles(instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N,), and for each the tile of its centre as one-hot rows (N, T)."""
    z, y, x = instances.shape
    found = join([measure(instances, np.empty((0, z, y, x)), (slice(0, z), slice(0, y), slice(0, x)), (z, y, x))])
    tiles = _tile_counts((z, y, x))
    centre = found["position"] / np.maximum(found["voxels"], 1)[:, None]
    place = np.minimum((centre * tiles / (z, y, x)).astype(int), np.array(tiles) - 1)
    which = np.ravel_multi_index(tuple(place.T), tiles)
    return found["ids"], np.eye(int(np.prod(tiles)))[which]


def _counted(tiles: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """(T, 2): instances found again, and instances, of each tile."""
    return np.stack([tiles.T @ (iou > AGAIN), tiles.sum(axis=0)], axis=1)
