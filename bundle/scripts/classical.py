"""The classical recipe, the line to beat: subtract the background, threshold by Otsu, split by a distance watershed.

It needs no training and no labels, and on bright nuclei over a dark ground it is hard to beat, so it is scored beside
the network wherever a result is shown.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi
from scripts.command.argument import unknown_flag
from scripts.command.start import start
from scripts.errors import InputError
from scripts.watershed.fine import flood_floats
from scripts.watershed.small_instance import close_gaps
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

__all__ = ["classical_foreground", "classical_instances", "opened", "segment_file"]


def classical_foreground(
    image: np.ndarray,
    spacing: Sequence[float] = (2.0, 1.0, 1.0),
    *,
    smoothing: float = 1.0,
    background: float = 20.0,
    opening: float = 2.0,
) -> np.ndarray:
    """Mask (Z, Y, X) of what is brighter than its surroundings.

    Args:
        image: grey volume (Z, Y, X) of any numeric type; nuclei bright.
        spacing: voxel size (z, y, x) in any unit; only ratios count, since lengths are in voxels of the finest axis.
        smoothing: deviation of the Gaussian against noise; 0 for none.
        background: deviation of the Gaussian whose result is subtracted; 0 for none.
        opening: radius of the ball that removes what is thinner than it; 0 for none.
    """
    if image.min() == image.max():
        return np.zeros(image.shape, bool)
    ratios = np.asarray(spacing) / min(spacing)
    volume = image.astype(np.float32)
    contrast = _blur(volume, smoothing, ratios)
    if background > 0:
        contrast = contrast - _blur(volume, background, ratios)
    mask = contrast > threshold_otsu(contrast)
    return opened(mask, opening, ratios) if opening > 0 else mask


def classical_instances(
    image: np.ndarray,
    spacing: Sequence[float] = (2.0, 1.0, 1.0),
    *,
    smoothing: float = 1.0,
    background: float = 20.0,
    opening: float = 2.0,
    seed_smoothing: float = 2.0,
    seed_distance: float = 6.0,
    min_instance_size: int = 64,
) -> np.ndarray:
    """Instances (Z, Y, X) int32 of bright nuclei, 0 for background.

    Args:
        image: grey volume (Z, Y, X) of any numeric type; nuclei bright.
        spacing: see `classical_foreground`.
        smoothing: see `classical_foreground`.
        background: see `classical_foreground`.
        opening: see `classical_foreground`.
        seed_smoothing: deviation of the Gaussian on the distance map, against seeds from a rough outline.
        seed_distance: least distance between two seeds.
        min_instance_size: smaller instances, in voxels, are dropped.
    """
    ratios = np.asarray(spacing) / min(spacing)
    mask = classical_foreground(image, spacing, smoothing=smoothing, background=background, opening=opening)
    if not mask.any():
        return np.zeros(image.shape, np.int32)
    distance = _blur(ndi.distance_transform_edt(mask, sampling=ratios), seed_smoothing, ratios)
    instances = flood_floats(np.where(mask, -distance, np.inf), _peaks(distance, mask, seed_distance, ratios))
    keep = np.bincount(instances.ravel()) >= min_instance_size
    return close_gaps(np.where(keep[instances], instances, 0).astype(np.int32))


def segment_file(
    image: str | Path,
    out: str | Path,
    spacing: Sequence[float] | None = None,
    dataset: str | None = None,
    **options: Any,
) -> None:
    """Segment a volume file; without ``spacing`` its own voxel size counts, or 2:1:1 where it has none.

    Args:
        image: volume, nuclei bright.
        out: file for the instances; its extension says the format.
        spacing: voxel size z,y,x; only ratios count.
        dataset: name of the volume, where the file has several.
        options: numbers of `classical_instances`: smoothing, background, opening, seed_smoothing, seed_distance,
            min_instance_size.

    Raises:
        InputError: a flag or a file is not as expected, or the result cannot be written.
    """
    from scripts.volume_io import check_writable, read_volume, write_volume

    _check_options(options)
    check_writable(out)
    volume, voxel_size = read_volume(image, dataset=dataset)
    instances = classical_instances(volume, spacing or voxel_size or (2.0, 1.0, 1.0), **options)
    write_volume(out, instances, voxel_size=voxel_size, labels=True)


def _check_options(options: Mapping[str, Any]) -> None:
    known = list(inspect.signature(classical_instances).parameters)[2:]
    for name, value in options.items():
        if name not in known:
            raise unknown_flag(name, ["image", "out", "spacing", "dataset", *known])
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise InputError(f"--{name}: found {value}, expected a number, 0 or more.")


def _peaks(distance: np.ndarray, mask: np.ndarray, reach: float, spacing: np.ndarray) -> np.ndarray:
    """Seeds (Z, Y, X), one voxel each: the maxima of the distance map that no higher one within ``reach`` outdoes."""
    radius = (reach / spacing).astype(int)
    offsets = np.mgrid[tuple(slice(-n, n + 1) for n in radius)] * spacing.reshape(3, 1, 1, 1)
    ball = (offsets**2).sum(axis=0) <= reach**2
    peaks = peak_local_max(distance, footprint=ball, labels=ndi.label(mask)[0], exclude_border=False)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return seeds


def _blur(volume: np.ndarray, sigma: float, spacing: np.ndarray) -> np.ndarray:
    """Gaussian of the same physical width along all axes."""
    return ndi.gaussian_filter(volume, sigma / spacing) if sigma > 0 else volume


def opened(mask: np.ndarray, radius: float, spacing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return a mask (Z, Y, X) without what is thinner than a ball.

    It is two thresholds on distance maps, which is much faster than a structuring element. Memory: 24 bytes per voxel.

    Args:
        mask: bool.
        radius: of the ball, in the unit of `spacing`.
        spacing: voxel size (z, y, x).
    """
    core = ndi.distance_transform_edt(mask, sampling=spacing) > radius
    return ndi.distance_transform_edt(~core, sampling=spacing) <= radius if core.any() else core


if __name__ == "__main__":
    start(segment_file)
