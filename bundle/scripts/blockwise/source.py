"""The maps that blocks are read from."""

from __future__ import annotations

import os

import numpy as np
from scripts.errors import InputError
from scripts.volume_io import ChunkedVolume, open_volume
from scripts.volume_io.grid import Box
from scripts.watershed import BCDWatershed
from scripts.watershed.channel import first_map
from scripts.watershed.pipeline import Recipe

__all__ = ["Maps"]


class Maps:
    """Maps (C, Z, Y, X), with or without a translated image before them.

    Args:
        path: of a store that can be read in parts: Zarr, OME-Zarr, HDF5 (`file.h5::dataset`).
        decoder: what the maps are for.
        dataset: for files that hold several.
        unit: for floats, whether they run from 0 to 1 rather than to 255: a block alone cannot tell.

    Raises:
        InputError: no such file, other channels, or values of another kind.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        decoder: type[BCDWatershed],
        dataset: str | None = None,
        unit: bool | None = None,
    ) -> None:
        path = os.path.abspath(os.path.expanduser(path))  # workers have other working directories
        self.volume: ChunkedVolume = open_volume(path, dataset, ndim=4)
        channels, names = self.volume.shape[0], self.volume.channel_names
        self.first = first_map(path, channels, names, decoder.map_names)
        self._check_count(channels - self.first, decoder.recipe())
        self.unit = self._checked(unit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        z, y, x = self.volume.shape[1:]
        return z, y, x

    @property
    def channels(self) -> int:
        """Number of maps."""
        return self.volume.shape[0] - self.first

    def read(self, box: Box) -> np.ndarray:
        """Read the maps of a box, (C, z, y, x)."""
        channels = slice(self.first, self.volume.shape[0])
        return self.volume[channels, *box]

    def _check_count(self, count: int, recipe: Recipe) -> None:
        if count != len(recipe.names) and not (recipe.more and count > len(recipe.names)):
            expected = f"{', '.join(recipe.names)}{' or more' if recipe.more else ''}"
            raise InputError(f"{self.volume.name}: found {count} maps, expected {expected}.")

    def _checked(self, unit: bool | None) -> bool:
        name, dtype = self.volume.name, self.volume.dtype
        if dtype == np.uint8:
            return False
        if dtype.kind != "f":
            raise InputError(f"{name}: values of type {dtype}; expected uint8, 0..255, or floats.")
        if unit is None:
            raise InputError(f"{name}: floats; say --unit true if they run from 0 to 1, --unit false if to 255.")
        return unit
