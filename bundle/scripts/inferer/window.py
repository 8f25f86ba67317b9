"""Where the windows of a volume lie: known axis by axis, so that a part of a volume finds those that it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from scripts.errors import InputError

__all__ = ["MODES", "WindowGrid", "check_images", "window_weights"]

MODES = ("gaussian", "constant", "published")


class WindowGrid(NamedTuple):
    """The windows that MONAI's `sliding_window_inference` visits, z outermost: all combinations of the starts.

    Attributes:
        size: of a window (z, y, x).
        starts: where windows start along z, y and x, ascending, in voxels of the padded volume.
    """

    size: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int], size: Sequence[int], overlap: Sequence[float]) -> WindowGrid:
        """Return the windows of a volume; memory is that of the starts, not of all combinations.

        Args:
            shape: of the padded volume (Z, Y, X).
            size: of a window (z, y, x), no larger than the volume.
            overlap: part of a window, from 0 to below 1, that its neighbour covers too, along z, y and x.
        """
        strides = [max(1, int(side * (1 - part))) for side, part in zip(size, overlap, strict=True)]
        axes = zip(shape, size, strides, strict=True)
        # MONAI's own rule, one axis at a time: a list of all windows of a large volume is larger than a block of it
        slices = [dense_patch_slices((n,), (side,), (stride,)) for n, side, stride in axes]
        return cls(tuple(map(int, size)), tuple(tuple(int(window.start) for (window,) in axis) for axis in slices))

    def __len__(self) -> int:  # of windows, not of fields
        return math.prod(map(len, self.starts))

    def overlapping(self, box: Sequence[slice]) -> WindowGrid:
        """Return those that share voxels with a box, in the same order."""
        axes = zip(self.starts, self.size, box, strict=True)
        return WindowGrid(
            self.size, tuple(tuple(s for s in starts if s < b.stop and s + n > b.start) for starts, n, b in axes)
        )

    def extent(self) -> tuple[slice, ...]:
        """Return the box that the windows cover."""
        axes = zip(self.starts, self.size, strict=True)
        return tuple(slice(starts[0], starts[-1] + side) for starts, side in axes)


def window_weights(size: Sequence[int], mode: str, sigma_scale: Sequence[float] | float) -> torch.Tensor:
    """Return how much each voxel of a window counts where windows overlap, (z, y, x) float32.

    Args:
        size: of the window (z, y, x).
        mode: "gaussian" or "constant", as MONAI has them (at least 1e-3); or "published", as the authors' code has
            it: a Gaussian of sigma 0.2 on a grid from -1 to 1, plus 1e-4.
        sigma_scale: of "gaussian", sigma as a share of the side.
    """
    if mode != "published":
        return compute_importance_map(tuple(size), mode=mode, sigma_scale=sigma_scale)
    z, y, x = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in size)
    square = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    return torch.exp(square / (-2 * 0.2**2)) + 1e-4


def check_images(inputs: torch.Tensor) -> None:
    """See that these are volumes of one channel.

    Raises:
        InputError: they are not.
    """
    if inputs.ndim != 5 or inputs.shape[1] != 1:
        raise InputError(f"images have shape {tuple(inputs.shape)}; expected (batch, 1, z, y, x)")
