"""Contrast, brightness and gamma of a whole volume."""

from __future__ import annotations

import numpy as np
from scripts.transforms.augmentation import RandVolume, RandVolumed

__all__ = ["RandGreyValue", "RandGreyValued"]


class RandGreyValue(RandVolume):
    """Scale, shift, clip to [0, 1] and raise to a power: one draw for the whole volume.

    v becomes clip(v · (1 + c) + b)^g, with c even in ±contrast, b even in ±brightness and log2 g even in ±gamma.
    (MONAI's RandAdjustContrast stretches by the volume's own extremes and draws g itself evenly.)

    Args:
        prob: how often it is done.
        contrast: largest change of the scale.
        brightness: largest shift.
        gamma: largest binary logarithm of the exponent; 1.0 means 1/2 to 2.
    """

    def __init__(self, prob: float = 0.5, contrast: float = 0.15, brightness: float = 0.15, gamma: float = 1.0) -> None:
        super().__init__(prob)
        self.contrast, self.brightness, self.gamma = contrast, brightness, gamma

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw the three numbers."""
        self.factor = 1 + self.R.uniform(-self.contrast, self.contrast)
        self.shift = self.R.uniform(-self.brightness, self.brightness)
        self.exponent = 2 ** self.R.uniform(-self.gamma, self.gamma)

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Map the grey values."""
        result = volume * volume.dtype.type(self.factor)
        result += volume.dtype.type(self.shift)
        np.clip(result, 0, 1, out=result)
        return np.power(result, volume.dtype.type(self.exponent), out=result)


class RandGreyValued(RandVolumed):
    """Dictionary form of :class:`RandGreyValue`, whose `contrast`, `brightness` and `gamma` it takes."""

    array = RandGreyValue
