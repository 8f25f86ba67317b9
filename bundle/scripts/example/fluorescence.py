"""The target: fluorescence."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from scripts.example.field import SPACING, depth, smooth_noise, to_uint8
from scripts.example.look import FluorescenceLook

__all__ = ["render_fluorescence"]


def render_fluorescence(rng: np.random.Generator, label: np.ndarray, look: FluorescenceLook) -> np.ndarray:
    """Fluorescence-like image (Z, Y, X) uint8: stain, clutter, haze, uneven light, blur, photon noise."""
    shape = label.shape
    stain = _stain(rng, label, look.hollow)
    haze = _haze(rng, stain, look)
    sharp = ndi.gaussian_filter(stain + _clutter(rng, label, look.clutter), look.blur)
    light = np.exp(0.25 * smooth_noise(rng, shape, 45.0)) * np.linspace(1.25, 0.6, shape[0])[:, None, None]
    photons = rng.poisson(look.photons * light * (0.04 + sharp + haze))
    return to_uint8((photons + rng.normal(0, 1.0, shape)) / (2 * look.photons))


def _stain(rng: np.random.Generator, label: np.ndarray, hollow_share: float) -> np.ndarray:
    """Each nucleus has its own brightness; a share is hollow, with the stain gathered at the rim."""
    count = int(label.max()) + 1
    brightness = np.exp(rng.uniform(np.log(0.45), np.log(1.2), count))
    hollow = np.where(rng.random(count) < hollow_share, rng.uniform(0.6, 0.85, count), 0.0)
    core = 1 - np.exp(-((depth(label) / 3.5) ** 2))
    texture = np.clip(1 + 0.15 * smooth_noise(rng, label.shape, 1.8), 0.3, None)
    return np.where(label > 0, brightness[label] * (1 - hollow[label] * core) * texture, 0).astype(np.float32)


def _haze(rng: np.random.Generator, stain: np.ndarray, look: FluorescenceLook) -> np.ndarray:
    """Light from out of focus: the nuclei's own, and patches of glow up to about half the tone of a nucleus."""
    own = ndi.gaussian_filter(stain, (5, 7, 7))
    glow = np.clip(smooth_noise(rng, stain.shape, 18.0) - 0.3, 0, None)
    return look.haze * own + look.glow * glow


def _clutter(rng: np.random.Generator, label: np.ndarray, amount: float) -> np.ndarray:
    """Stained fibres and specks of debris, which lie between the nuclei and are none."""
    extent = np.asarray(label.shape) * SPACING
    clutter = np.zeros(label.shape, np.float32)
    for _ in range(max(1, round(amount * extent.prod() * 30 / 4.7e6))):
        _stamp(clutter, _fibre(rng, extent), rng.uniform(6.0, 14.0))
    for _ in range(max(1, round(amount * extent.prod() * 60 / 4.7e6))):
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
