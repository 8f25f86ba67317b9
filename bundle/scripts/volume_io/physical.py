"""Physical size: the scale of a volume whose voxels have another size than those that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from scripts.errors import InputError
from scripts.volume_io.unit import MOST_APART, MOST_SCALED, apart

__all__ = ["EQUAL", "physical_scale", "voxel_factor", "voxels"]

EQUAL = 1.02
"""Voxel sizes that differ by no more along any axis count as one, so that results stay the same to the last bit."""


def physical_scale(
    scale: Sequence[float],
    training_voxel_size: Sequence[float] | None,
    voxel_size: Sequence[float] | None,
    name: object = "",
) -> tuple[float, ...]:
    """Return the factors (z, y, x) at which a network sees objects of a volume as large as those that it learned.

    Args:
        scale: factors for voxels of `training_voxel_size`.
        training_voxel_size: (z, y, x) in micrometres; None where it is unknown, and `scale` is returned.
        voxel_size: of the volume; likewise.
        name: of the volume, for the message.

    Raises:
        InputError: the sizes differ more than 20 times along an axis, so that one of them has a wrong unit; or a factor
            would be above 20.

    >>> physical_scale((1, 0.5, 0.5), (1.0, 0.2, 0.2), (1.0, 0.4, 0.2))
    (1.0, 1.0, 0.5)
    """
    factors = tuple(float(factor) for factor in scale)
    if training_voxel_size is None or voxel_size is None:
        return factors
    if (most := apart(voxel_size, training_voxel_size)) <= EQUAL:
        return factors
    if most > MOST_APART:
        raise InputError(
            f"{name}: found voxels of {_shown(voxel_size)} µm (z, y, x), the model was trained on voxels of "
            f"{_shown(training_voxel_size)} µm; expected sizes that differ by at most {MOST_APART:g} times. Look at "
            "the units in the file, or give --scale, with which voxel sizes are not compared."
        )
    sides = zip(factors, voxel_size, training_voxel_size, strict=True)
    found = tuple(
        factor if apart([own], [trained]) <= EQUAL else factor * own / trained for factor, own, trained in sides
    )
    if max(found) > MOST_SCALED:
        raise InputError(
            f"{name}: its voxels of {_shown(voxel_size)} µm (z, y, x) would be scaled by {_shown(found)}, expected at "
            f"most {MOST_SCALED:g}: the model sees voxels much smaller than these. Give --scale, or a finer volume."
        )
    return found


def voxel_factor(scale: Sequence[float], other: Sequence[float]) -> float:
    """Return how many voxels an object has in a volume that is seen at a scale, for each one that it had at another.

    >>> voxel_factor((1, 0.5, 0.5), (1, 1, 1))
    4.0
    """
    return prod(before / now for now, before in zip(scale, other, strict=True))


def voxels(size: int, factor: float) -> int:
    """Return a size in voxels for a volume in which objects have `factor` times as many."""
    return size if factor == 1 else round(size * factor)


def _shown(size: Sequence[float]) -> str:
    return " x ".join(f"{side:.4g}" for side in size)
