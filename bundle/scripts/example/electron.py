"""The source: electron microscopy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from scripts.example.field import depth, smooth_noise, to_uint8
from scripts.example.look import ElectronLook

__all__ = ["render_electron"]


def render_electron(rng: np.random.Generator, label: np.ndarray, look: ElectronLook) -> np.ndarray:
    """EM-like image (Z, Y, X) uint8: grey neuropil with dark membranes; nuclei with envelope and chromatin."""
    inside = depth(label)
    nuclei = _nucleoplasm(rng, label, inside, look.chromatin)
    image = np.where(label > 0, nuclei, _neuropil(rng, label.shape, look.membrane))
    image -= look.envelope * np.exp(-(((inside - 1.0) / 0.6) ** 2)) * (label > 0)  # nuclear envelope, one voxel
    image = ndi.gaussian_filter(image, (0.3, 0.6, 0.6)) + look.noise * rng.standard_normal(label.shape)
    return to_uint8(image)


def _neuropil(rng: np.random.Generator, shape: tuple[int, ...], membrane: float) -> np.ndarray:
    """Grey processes of varying tone, walled by membranes (zero lines of a random field), with dark mitochondria."""
    tone = 0.46 + 0.06 * smooth_noise(rng, shape, 4.0)
    for sigma, width in ((2.2, 0.22), (4.0, 0.12)):
        tone -= membrane * np.exp(-((smooth_noise(rng, shape, sigma) / width) ** 2))
    mitochondria = smooth_noise(rng, shape, 2.0) > 2.1
    return tone - 0.2 * ndi.gaussian_filter(mitochondria.astype(np.float32), (0.4, 0.8, 0.8))


def _nucleoplasm(rng: np.random.Generator, label: np.ndarray, inside: np.ndarray, chromatin: float) -> np.ndarray:
    """Light and smooth, with dark heterochromatin that gathers at the envelope.

    On average it stays lighter than the neuropil, as in serial block-face EM of brain; so bright means nucleus in both
    domains, which a translation without paired images needs.
    """
    tone = rng.normal(0.66, 0.03, int(label.max()) + 1)[label]
    clumps = smooth_noise(rng, label.shape, 1.8) + 0.6 * np.exp(-inside / 2.5)
    return tone - chromatin / (1 + np.exp(-8 * (clumps - 1.2))) + 0.015 * smooth_noise(rng, label.shape, 1.0)
