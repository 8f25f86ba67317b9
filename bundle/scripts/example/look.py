"""How the two domains of the example look; the defaults are those of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

__all__ = ["ElectronLook", "FluorescenceLook", "varied"]


@dataclass(frozen=True)
class ElectronLook:
    """Tones are in 0 to 1.

    Attributes:
        membrane: how dark membranes are against the processes.
        envelope: how dark the nuclear envelope is.
        chromatin: how dark heterochromatin is against the nucleoplasm.
        noise: deviation of the noise.
    """

    membrane: float = 0.25
    envelope: float = 0.38
    chromatin: float = 0.22
    noise: float = 0.03


@dataclass(frozen=True)
class FluorescenceLook:
    """Light is in units of a nucleus of mean stain.

    Attributes:
        photons: of such a nucleus, which set the noise.
        blur: deviation of the point spread, in voxels.
        haze: share of the nuclei's own light that comes from out of focus.
        glow: patches of light from elsewhere.
        hollow: share of the nuclei whose stain is gathered at the rim.
        clutter: amount of fibres and debris.
    """

    photons: float = 45.0
    blur: float = 0.9
    haze: float = 0.3
    glow: float = 0.15
    hollow: float = 0.5
    clutter: float = 1.0


Look = TypeVar("Look", ElectronLook, FluorescenceLook)


def varied(look: Look, rng: np.random.Generator) -> Look:
    """Draw another look: each number between two thirds and one and a half times what it was."""
    return type(look)(**{field.name: getattr(look, field.name) * 1.5 ** rng.uniform(-1, 1) for field in fields(look)})
