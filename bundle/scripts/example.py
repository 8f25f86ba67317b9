"""The example pair: a labelled EM-like volume X and an unlabelled fluorescence-like volume Y, drawn from a seed.

Nothing is downloaded. X and Y hold different nuclei of the same shape statistics (two size classes, clusters of
touching nuclei), since the method transfers shapes from one domain to the other. Both are simulated and are to be
called so.

Lengths inside this module are in voxels of y and x; one section is ``SPACING[0]`` of them thick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cc3d
import edt
import fire
import numpy as np
from scipy import ndimage as ndi

__all__ = ["SPACING", "make_pair", "write_pair"]

SPACING = (2.0, 1.0, 1.0)
_DIAMETERS = (16.0, 24.0)  # the two size classes
_LARGE_SHARE = 0.6
_NUCLEI_PER_VOLUME = 175 / (128 * 192 * 192)  # per cubic voxel of y


def make_pair(shape: Sequence[int] = (64, 192, 192), seed: int = 0) -> dict[str, np.ndarray]:
    """Draw the pair.

    Args:
        shape: (Z, Y, X) of each of the volumes, in voxels of ``SPACING`` (z twice y and x).
        seed: the same seed gives the same voxels.

    Returns:
        ``imageX`` and ``imageY`` (uint8), ``labelX`` and ``labelY`` (uint16, instances 1..N), each (Z, Y, X).
    """
    z, y, x = shape
    rng_x, rng_y = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    label_x = _draw_nuclei(rng_x, (z, y, x))
    label_y = _draw_nuclei(rng_y, (z, y, x))
    return {
        "imageX": _render_electron(rng_x, label_x),
        "labelX": label_x,
        "imageY": _render_fluorescence(rng_y, label_y),
        "labelY": label_y,
    }


def write_pair(output_dir: str | Path, seed: int = 0, shape: Sequence[int] = (64, 192, 192)) -> None:
    """Write the pair as imageX.tif, labelX.tif, imageY.tif and labelY.tif; only the scores may read the last one."""
    from scripts.volume_io import write_volume

    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, volume in make_pair(shape, seed).items():
        write_volume(folder / f"{name}.tif", volume, voxel_size=SPACING)


# Shapes


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Gaussian random field (Z, Y, X) of mean 0 and deviation 1, with the same ``sigma`` in all directions."""
    step = max(1, int(sigma / 4))  # a coarse grid is enough for a smooth field, and much faster
    spacing = np.asarray(SPACING)
    coarse = np.ceil(np.asarray(shape) * spacing / step).astype(int) + 2
    field = ndi.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap")
    grid = [np.arange(n, dtype=np.float32) * s / step for n, s in zip(shape, spacing, strict=True)]
    if step == 1:
        field = field[np.ix_(*[g.astype(int) for g in grid])]
    else:
        field = ndi.map_coordinates(field, np.meshgrid(*grid, indexing="ij"), order=1)
    return (field - field.mean()) / (field.std() + 1e-6)


def _place(rng: np.random.Generator, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 3) and radii (N,): half of the nuclei are thrown at random, half against one already there."""
    centres, radii = np.empty((0, 3)), np.empty(0)
    wanted = max(4, round(_NUCLEI_PER_VOLUME * extent.prod()))
    for _ in range(200 * wanted):
        radius = _DIAMETERS[int(rng.random() < _LARGE_SHARE)] / 2 * rng.normal(1, 0.05)
        centre = rng.uniform(0, extent)
        if len(radii) and rng.random() < 0.5:
            centre = _beside(rng, centres, radii, radius)
        gap = np.linalg.norm(centres - centre, axis=1) / (radii + radius)
        if (gap > 0.93).all() and (centre >= 0).all() and (centre < extent).all():
            centres, radii = np.vstack([centres, centre]), np.append(radii, radius)
        if len(radii) == wanted:
            break
    return centres, radii


def _beside(rng: np.random.Generator, centres: np.ndarray, radii: np.ndarray, radius: float) -> np.ndarray:
    """Centre (3,) of a nucleus pressed against one of those placed."""
    neighbour = rng.integers(len(radii))
    direction = rng.normal(size=3)
    reach = rng.uniform(0.94, 1.02) * (radii[neighbour] + radius)
    return centres[neighbour] + direction / np.linalg.norm(direction) * reach


def _draw_nuclei(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Labels (Z, Y, X) uint16: bent ellipsoids; a voxel claimed twice goes to the nucleus it is deeper in."""
    centres, radii = _place(rng, np.asarray(shape) * SPACING)
    bend = np.stack([1.3 * _smooth_noise(rng, shape, 5.0) for _ in range(3)], axis=-1)
    nearest = np.ones(shape, np.float32)
    label = np.zeros(shape, np.int32)
    for i, (centre, radius) in enumerate(zip(centres, radii, strict=True), 1):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] / (radius * rng.uniform(0.85, 1.2, (3, 1)))
        box = _box(centre, 1.5 * radius + 3, shape)
        depth = _ellipsoid(centre, axes, box, bend)
        inside = depth < nearest[box]
        nearest[box][inside] = depth[inside]
        label[box][inside] = i
    return _tidy(label)


def _box(centre: np.ndarray, reach: float, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices of the part of the volume within ``reach`` of a centre."""
    low = np.maximum((centre - reach) / SPACING, 0).astype(int)
    high = np.minimum((centre + reach) / SPACING + 1, shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _ellipsoid(centre: np.ndarray, axes: np.ndarray, box: tuple[slice, ...], bend: np.ndarray) -> np.ndarray:
    """Distance to the centre over the radius in that direction, within the box, in bent space."""
    points = np.moveaxis(np.mgrid[box], 0, -1) * SPACING + bend[box]
    return np.linalg.norm((points - centre) @ axes.T, axis=-1).astype(np.float32)


def _tidy(label: np.ndarray, smallest: int = 250) -> np.ndarray:
    """The largest piece of each nucleus, slivers under ``smallest`` voxels dropped, ids 1..N by first voxel, uint16."""
    pieces = cc3d.connected_components(label, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    nucleus = np.zeros(len(sizes), int)
    nucleus[pieces] = label
    order = np.lexsort((-sizes, nucleus))
    keep = np.zeros(len(sizes), bool)
    keep[order[np.unique(nucleus[order], return_index=True)[1]]] = True
    keep &= (sizes >= smallest) & (nucleus > 0)
    return np.where(keep, np.cumsum(keep), 0).astype(np.uint16)[pieces]


def _depth(label: np.ndarray) -> np.ndarray:
    """Distance of each nucleus voxel to what is not its nucleus; 0 outside. The border of the volume is no surface."""
    return edt.edt(label, anisotropy=SPACING)


# Source: electron microscopy


def _render_electron(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    """EM-like image (Z, Y, X) uint8: grey neuropil with dark membranes; nuclei with envelope and chromatin."""
    depth = _depth(label)
    image = np.where(label > 0, _nucleoplasm(rng, label, depth), _neuropil(rng, label.shape))
    image -= 0.38 * np.exp(-(((depth - 1.0) / 0.6) ** 2)) * (label > 0)  # nuclear envelope, one voxel
    image = ndi.gaussian_filter(image, (0.3, 0.6, 0.6)) + 0.03 * rng.standard_normal(label.shape)
    return _to_uint8(image)


def _neuropil(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Grey processes of varying tone, walled by membranes (zero lines of a random field), with dark mitochondria."""
    tone = 0.46 + 0.06 * _smooth_noise(rng, shape, 4.0)
    for sigma, width in ((2.2, 0.22), (4.0, 0.12)):
        tone -= 0.25 * np.exp(-((_smooth_noise(rng, shape, sigma) / width) ** 2))
    mitochondria = _smooth_noise(rng, shape, 2.0) > 2.1
    return tone - 0.2 * ndi.gaussian_filter(mitochondria.astype(np.float32), (0.4, 0.8, 0.8))


def _nucleoplasm(rng: np.random.Generator, label: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Light and smooth, with dark heterochromatin that gathers at the envelope.

    On average it stays lighter than the neuropil, as in serial block-face EM of brain; so bright means nucleus in both
    domains, which a translation without paired images needs.
    """
    tone = rng.normal(0.66, 0.03, int(label.max()) + 1)[label]
    clumps = _smooth_noise(rng, label.shape, 1.8) + 0.6 * np.exp(-depth / 2.5)
    return tone - 0.22 / (1 + np.exp(-8 * (clumps - 1.2))) + 0.015 * _smooth_noise(rng, label.shape, 1.0)


# Target: fluorescence


def _render_fluorescence(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    """Fluorescence-like image (Z, Y, X) uint8: stain, clutter, haze, uneven light, blur, photon noise."""
    shape = label.shape
    stain = _stain(rng, label)
    haze = _haze(rng, stain)
    sharp = ndi.gaussian_filter(stain + _clutter(rng, label), (0.9, 0.9, 0.9))
    light = np.exp(0.25 * _smooth_noise(rng, shape, 45.0)) * np.linspace(1.25, 0.6, shape[0])[:, None, None]
    photons = rng.poisson(45.0 * light * (0.04 + sharp + haze))
    return _to_uint8((photons + rng.normal(0, 1.0, shape)) / 90.0)


def _stain(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    """Each nucleus has its own brightness; about half are hollow, with the stain gathered at the rim."""
    count = int(label.max()) + 1
    brightness = np.exp(rng.uniform(np.log(0.45), np.log(1.2), count))
    hollow = np.where(rng.random(count) < 0.5, rng.uniform(0.6, 0.85, count), 0.0)
    core = 1 - np.exp(-((_depth(label) / 3.5) ** 2))
    texture = np.clip(1 + 0.15 * _smooth_noise(rng, label.shape, 1.8), 0.3, None)
    return np.where(label > 0, brightness[label] * (1 - hollow[label] * core) * texture, 0).astype(np.float32)


def _haze(rng: np.random.Generator, stain: np.ndarray) -> np.ndarray:
    """Light from out of focus: the nuclei's own, and patches of glow up to about half the tone of a nucleus."""
    own = ndi.gaussian_filter(stain, (5, 7, 7))
    glow = np.clip(_smooth_noise(rng, stain.shape, 18.0) - 0.3, 0, None)
    return 0.3 * own + 0.15 * glow


def _clutter(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    """Stained fibres and specks of debris, which lie between the nuclei and are none."""
    extent = np.asarray(label.shape) * SPACING
    clutter = np.zeros(label.shape, np.float32)
    for _ in range(max(1, round(extent.prod() * 30 / 4.7e6))):
        _stamp(clutter, _fibre(rng, extent), rng.uniform(6.0, 14.0))
    for _ in range(max(1, round(extent.prod() * 60 / 4.7e6))):
        _stamp(clutter, rng.uniform(0, extent, (1, 3)), rng.uniform(10, 40))
    return np.where(label > 0, 0.3, 1.0) * ndi.gaussian_filter(clutter, (0.7, 1.3, 1.3))


def _fibre(rng: np.random.Generator, extent: np.ndarray) -> np.ndarray:
    """Points (N, 3) of a random walk that turns slowly."""
    turns = ndi.gaussian_filter1d(rng.normal(size=(int(rng.integers(40, 140)), 3)), 8, axis=0) * 4 + rng.normal(size=3)
    steps = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    return rng.uniform(0, extent) + np.cumsum(steps, axis=0)


def _stamp(volume: np.ndarray, points: np.ndarray, weight: float) -> None:
    """Set the voxels under the points, in place; points outside the volume are left out."""
    index = (points / SPACING).astype(int)
    index = index[((index >= 0) & (index < volume.shape)).all(axis=1)]
    volume[tuple(index.T)] = weight


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Tones 0..1 to 0..255, clipped."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    fire.Fire(write_pair)
