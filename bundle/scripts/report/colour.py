"""Instances in colour: neighbours never share one, and what matches the truth wears the colour of the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.colors import to_rgb

__all__ = ["PALETTE", "colour_instances", "inherit_colours", "outline", "paint"]

HEXES = "#ff5a4f #ffd23f #3ddc84 #36c5f0 #b678ff #ff9a3c #ff7ac6 #4f8cff #b6e84c #12b5a6"
PALETTE = np.array([to_rgb(code) for code in HEXES.split()])
_LINEAR = np.where(PALETTE <= 0.04045, PALETTE / 12.92, ((PALETTE + 0.055) / 1.055) ** 2.4)
_BLIND = (
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
)
"""What linear red, green and blue become for those without the first or the second cone (Machado et al., 2009)."""


def _seen_by(matrix: Sequence[Sequence[float]]) -> np.ndarray:
    linear = np.clip(_LINEAR @ np.transpose(matrix), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _alike(colours: np.ndarray, least: float) -> np.ndarray:
    return np.linalg.norm(colours[:, None] - colours[None], axis=-1) < least


_PAIRS = np.logical_or.reduce([_alike(PALETTE, 0.5), *(_alike(_seen_by(matrix), 0.3) for matrix in _BLIND)])
ALIKE = [set(np.flatnonzero(row).tolist()) for row in _PAIRS]
"""For each colour those that are hard to tell from it, for the colour-blind too."""
REACH = 3
"""Labels this many pixels apart, or fewer, count as neighbours."""


def colour_instances(planes: Iterable[np.ndarray], wanted: Mapping[int, int] | None = None) -> dict[int, int]:
    """Give each label of some slices a colour that no neighbour in any of the slices has.

    Args:
        planes: integer labels (H, W), 0 is background; a label has the same colour in all of them.
        wanted: colours to take where no neighbour has them.

    Returns:
        label -> index into `PALETTE`.
    """
    neighbours = _neighbours(planes)
    colours: dict[int, int] = {}
    used: Counter[int] = Counter()
    for label in sorted(neighbours, key=lambda i: (-len(neighbours[i]), i)):
        taken = {colours[n] for n in neighbours[label] if n in colours}
        free = [c for c in range(len(PALETTE)) if c not in taken] or list(range(len(PALETTE)))
        first = (wanted or {}).get(label)
        colours[label] = first if first in free else min(free, key=lambda c: (len(taken & ALIKE[c]), used[c], c))
        used[colours[label]] += 1
    return colours


def inherit_colours(
    planes: Sequence[np.ndarray], true_planes: Sequence[np.ndarray], colours: Mapping[int, int]
) -> dict[int, int]:
    """For each instance the colour of the true one that it covers most in these slices, if it covers any."""
    overlaps: Counter[tuple[int, int]] = Counter()
    for plane, true in zip(planes, true_planes, strict=True):
        both = (plane > 0) & (true > 0)
        base = int(true.max(initial=0)) + 1
        codes = plane[both].astype(np.int64) * base + true[both].astype(np.int64)
        for code, count in zip(*(found.tolist() for found in np.unique(codes, return_counts=True)), strict=True):
            overlaps[divmod(code, base)] += count
    return {mine: colours[other] for (mine, other), _ in reversed(overlaps.most_common())}


def paint(grey: np.ndarray, labels: np.ndarray, colours: Mapping[int, int], pixels: int = 420) -> np.ndarray:
    """Lay a veil of colour and an outline over each object of a slice.

    Args:
        grey: (H, W) in [0, 1].
        labels: integer labels (H, W).
        colours: label -> index into `PALETTE`.
        pixels: smaller slices are enlarged to about this many, so that outlines are thin.

    Returns:
        (H', W', 3) in [0, 1].
    """
    rows, columns = (max(1, round(pixels / side)) for side in grey.shape)
    grey, labels = (array.repeat(rows, 0).repeat(columns, 1) for array in (grey, labels))
    ids, inverse = np.unique(labels, return_inverse=True)
    table = np.array([PALETTE[colours[i]] if i else np.zeros(3) for i in ids.tolist()])
    veil = np.where(outline(labels), 1.0, np.where(labels > 0, 0.4, 0.0))[..., None]
    return grey[..., None] * (1 - veil) + table[inverse.reshape(labels.shape)] * veil


def outline(labels: np.ndarray) -> np.ndarray:
    """Where an object (H, W) touches anything else, bool; what lies along the border of the slice does not."""
    padded = np.pad(labels, 1, mode="edge")
    sides = (padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2])
    return np.logical_or.reduce([labels != side for side in sides]) & (labels > 0)


def _neighbours(planes: Iterable[np.ndarray]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for plane in planes:
        for label in np.unique(plane[plane > 0]).tolist():
            found.setdefault(label, set())
        for a, b in _close(plane):
            found[a].add(b)
            found[b].add(a)
    return found


def _close(plane: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of labels that are at most `REACH` pixels apart along an axis."""
    pairs: set[tuple[int, int]] = set()
    for turned, step in product((plane, plane.T), range(1, REACH + 1)):
        near, far = turned[:-step], turned[step:]
        touch = (near != far) & (near > 0) & (far > 0)
        pairs.update(zip(near[touch].tolist(), far[touch].tolist(), strict=True))
    return pairs
