"""What speaks against a result, in words: reasons not to trust it, whatever its score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import fastremap
import numpy as np
from scripts.judge.evidence import Surroundings
from scripts.judge.shape import solidity
from scripts.match_domains.intensity import label_polarity

__all__ = ["vetoes"]

Seen = tuple[np.ndarray, Surroundings]

FEWEST = 10
"""Instances of all crops together; of fewer no score is worth anything."""
LARGEST = 0.5
"""Share of all that is found which one instance may hold."""
SHARE = 2.0
"""Factor between the foreground and what stands out in the image."""
EVIDENCE = 0.1
"""Least share of what is found that stands out in the image."""
RAGGED = 0.7
"""Least solidity, as a share of the solidity of labelled objects. Two objects in one instance
halve it where they are apart."""


def vetoes(instances: Sequence[np.ndarray], seen: Sequence[Surroundings], expected: float | None = None) -> list[str]:
    """Say what speaks against instances.

    Memory: 12 bytes per voxel of a crop.

    Args:
        instances: (Z, Y, X) of each crop, 0 for background.
        seen: what the image says about each of them.
        expected: solidity of labelled objects of the same kind; None: unknown.
    """
    sizes = np.concatenate([_sizes(crop) for crop in instances])
    if not len(sizes):
        return ["nothing is found"]
    return [*_by_size(sizes), *_by_shape(instances, expected), *_by_image(instances, seen)]


def _sizes(crop: np.ndarray) -> np.ndarray:
    ids, voxels = fastremap.unique(crop, return_counts=True)
    return voxels[ids > 0]


def _by_size(sizes: np.ndarray) -> Iterator[str]:
    if len(sizes) < FEWEST:
        yield f"only {len(sizes)} instances are found, expected {FEWEST} or more"
    if len(sizes) > 1 and sizes.max() > LARGEST * sizes.sum():
        yield f"one instance holds {100 * sizes.max() / sizes.sum():.0f} % of all that is found"


def _by_shape(instances: Sequence[np.ndarray], expected: float | None) -> Iterator[str]:
    if expected is None:
        return
    found = np.array([solidity(crop) for crop in instances])
    if not np.isnan(found).all() and (typical := np.nanmedian(found)) < RAGGED * expected:
        yield f"instances fill {100 * typical:.0f} % of their convex hulls, X's labels {100 * expected:.0f} %"


def _by_image(instances: Sequence[np.ndarray], seen: Sequence[Surroundings]) -> Iterator[str]:
    pairs = list(zip(instances, seen, strict=True))
    for bright in (True, False, None):
        if alike := [pair for pair in pairs if pair[1].bright is bright]:
            yield from _by_polarity(alike, bright)
    if known := [pair for pair in pairs if pair[1].bright is not None]:  # what stands out depends on the polarity
        yield from _by_evidence(known)


def _by_polarity(pairs: Sequence[Seen], bright: bool | None) -> Iterator[str]:
    inside = np.concatenate([one.crop[crop > 0] for crop, one in pairs])
    outside = np.concatenate([one.crop[crop == 0] for crop, one in pairs])
    if not (len(inside) and len(outside)):
        return
    if (upright := label_polarity((inside, outside))) is None:
        yield "instances are as bright as what is around them"
    elif not upright and bright is not None:
        yield f"instances are {'darker' if bright else 'brighter'} than what is around them, objects are not"


def _by_evidence(known: Sequence[Seen]) -> Iterator[str]:
    found = np.concatenate([crop.ravel() > 0 for crop, _ in known])
    outstanding = np.concatenate([one.outstanding.ravel() for _, one in known])
    share, expected = found.mean(), outstanding.mean()
    if min(share, expected) > 0 and max(share / expected, expected / share) > SHARE:
        yield f"instances fill {100 * share:.0f} % of the volume, what stands out in the image {100 * expected:.0f} %"
    if share and (covered := outstanding[found].mean()) < EVIDENCE:
        yield f"only {100 * covered:.0f} % of what is found stands out in the image"
