"""Voxel sizes and the expansion of a sample, as users give them."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.errors import InputError
from scripts.volume_io.unit import MOST_APART, apart

__all__ = ["VoxelSize", "refuse_far_apart", "unexpanded", "voxel_size"]

VoxelSize = Sequence[float] | None


def unexpanded(size: VoxelSize, expansion: float) -> VoxelSize:
    """Return the voxel size of a sample before it was made larger.

    Args:
        size: (z, y, x) of the file; None where it is not known.
        expansion: how many times larger the sample was made.

    Raises:
        InputError: the expansion is no number above 0.
    """
    if not isinstance(expansion, int | float) or not 0 < expansion < float("inf"):
        raise InputError(f"expansion_y is {expansion!r}; expected a number above 0.")
    return None if size is None else [side / expansion for side in size]


def refuse_far_apart(sizes: Sequence[VoxelSize], images: Sequence[tuple[str, str]]) -> None:
    """Reject voxel sizes of which one must be in a wrong unit.

    Args:
        sizes: of X and Y, (z, y, x) in micrometres.
        images: their names, and the units of their files.

    Raises:
        InputError: they differ by a factor of more than `MOST_APART` along an axis.
    """
    x, y = sizes
    if x is None or y is None or (factor := apart(x, y)) <= MOST_APART:
        return
    told = [
        f"{name} has voxels of {' x '.join(f'{side:.4g}' for side in size)} µm (z, y, x)"
        + ("" if unit in ("um", "unknown") else f", stated in {unit}")
        for size, (name, unit) in zip((x, y), images, strict=True)
    ]
    raise InputError(
        f"{'; '.join(told)}: they differ by a factor of {factor:.4g}, expected at most {MOST_APART:g}. One unit "
        "cannot be right (ITK and SimpleITK label all lengths as mm). Give the right sizes with --voxel_size_x or "
        "--voxel_size_y, or measure the objects instead with --by_voxel_size false."
    )


def voxel_size(value: VoxelSize, name: str) -> VoxelSize:
    """Return a voxel size that was given; None where none was.

    Raises:
        InputError: it is no three numbers above 0.
    """
    if value is None:
        return None
    try:
        sizes = [float(size) for size in value]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) != 3 or not all(0 < size < float("inf") for size in sizes):
        raise InputError(f"{name} is {value!r}; expected three micrometres z,y,x above 0, such as 0.3,0.1,0.1.")
    return sizes
