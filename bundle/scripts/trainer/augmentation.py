"""Random changes of what discriminators see, real and generated alike, so that few real nuclei cannot be memorised.

After Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, and Karras et al., Training Generative
Adversarial Networks with Limited Data, both NeurIPS 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["randomly_changed"]

# Of grey values in [-1, 1]: the largest change of contrast, and of brightness.
CONTRAST, BRIGHTNESS = 0.3, 0.2
# Of each side of a volume: what is cut out, an eighth of it in all.
HOLE = 0.5


def randomly_changed(volumes: Tensor, probability: float, grey: bool = True) -> Tensor:
    """Return (B, C, Z, Y, X) with each sample changed by its own chance; gradients pass through.

    A sample is mirrored along each axis with half the probability. With the whole of it, it gets another contrast and
    brightness, and a cuboid of it becomes 0.

    Args:
        volumes: images or maps. With probability 0 they are returned as they are, and nothing is drawn.
        probability: in [0, 1].
        grey: whether contrast and brightness may change, which in maps have a meaning.
    """
    if not probability:
        return volumes
    return torch.stack([_changed(volume, probability, grey) for volume in volumes])


def _changed(volume: Tensor, probability: float, grey: bool) -> Tensor:
    if axes := [axis for axis in range(1, volume.ndim) if _happens(probability / 2)]:
        volume = volume.flip(axes)
    if grey and _happens(probability):
        volume = volume * (1 + _between(-CONTRAST, CONTRAST)) + _between(-BRIGHTNESS, BRIGHTNESS)
    return volume * _hole(volume) if _happens(probability) else volume


def _hole(volume: Tensor) -> Tensor:
    """1 in the shape of (C, Z, Y, X), but 0 in a cuboid at a random place, all of it within the volume."""
    kept = torch.ones_like(volume)
    sizes = [max(1, round(HOLE * side)) for side in volume.shape[1:]]
    starts = [int(torch.randint(side - size + 1, ())) for side, size in zip(volume.shape[1:], sizes, strict=True)]
    kept[(slice(None), *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True)))] = 0
    return kept


def _happens(probability: float) -> bool:
    return bool(torch.rand(()) < probability)


def _between(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
