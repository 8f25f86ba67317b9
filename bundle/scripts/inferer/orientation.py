"""The orientations that predictions are averaged over: flips, and y and x exchanged."""

from __future__ import annotations

import itertools

import torch

__all__ = ["FLIPS", "orient", "orientations", "restore"]

Orientation = tuple[tuple[int, ...], bool]
"""Axes to flip (counted from the end), and whether y and x are swapped before."""

FLIPS: dict[int, tuple[int, ...]] = {1: (), 2: (-1,), 4: (-2, -1), 8: (-3, -2, -1), 16: (-3, -2, -1)}


def orientations(number: int) -> list[Orientation]:
    """The first `number` of the orientations, one of the keys of `FLIPS`."""
    axes = FLIPS[number]
    subsets = [chosen for size in range(len(axes) + 1) for chosen in itertools.combinations(axes, size)]
    return [(chosen, swapped) for swapped in ((False, True) if number == 16 else (False,)) for chosen in subsets]


def orient(volume: torch.Tensor, turn: Orientation) -> torch.Tensor:
    """A volume (..., Z, Y, X) in another orientation."""
    axes, swapped = turn
    volume = volume.transpose(-1, -2) if swapped else volume
    return volume.flip(axes) if axes else volume


def restore(volume: torch.Tensor, turn: Orientation) -> torch.Tensor:
    """Undo `orient`."""
    axes, swapped = turn
    volume = volume.flip(axes) if axes else volume
    return volume.transpose(-1, -2) if swapped else volume
