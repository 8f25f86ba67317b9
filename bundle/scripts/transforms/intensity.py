"""Grey values as the network sees them: two percentiles of a volume become the ends, with an exponent in between.

Training, inference and inference by blocks all use this module, so that they agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy
from scripts.transforms.percentile import check_percentiles, count_values, grey_ends

__all__ = [
    "GreyScale",
    "ScaleGreyValues",
    "ScaleGreyValuesd",
]

# MONAI's AdjustContrast, which the networks were trained with, divides by the range, here 1, plus 1e-7
_RANGE = float(torch.tensor(1.0) + 1e-7)


@dataclass(frozen=True)
class GreyScale:
    """Grey values to [-1, 1], voxel by voxel.

    Attributes:
        low: becomes -1, as does what is darker.
        high: becomes 1, as does what is brighter.
        gamma: exponent in between, on the scale 0 to 1.
        signed: False gives [0, 1] instead.
    """

    low: float
    high: float
    gamma: float = 1.0
    signed: bool = True

    def __call__(self, grey: torch.Tensor) -> torch.Tensor:
        """Return the grey values, float32, as the network expects them."""
        unit = (grey.float() - self.low).div_(self.high - self.low).clamp_(0, 1)
        unit = unit.div_(_RANGE).pow_(self.gamma)
        return unit.mul_(2).sub_(1) if self.signed else unit


class ScaleGreyValues(Transform):
    """Scale a volume (C, Z, Y, X) by two of its percentiles to float32 in [-1, 1], clipped.

    Where both percentiles are one value, as in a volume that is empty but for a few objects, those of the other voxels
    are taken, and a warning is logged.

    Memory: the volume and the result, 4 bytes per voxel; beside these, a few planes.

    Args:
        percentiles: the lower and the upper one, from 0 to 100; they become -1 and 1.
        gamma: exponent in between, on the scale 0 to 1.
        signed: False gives [0, 1] instead.

    Raises:
        InputError: the percentiles are not two numbers from 0 to 100, the lower one first.
    """

    def __init__(self, percentiles: Sequence[float] = (0.5, 99.5), gamma: float = 1.0, signed: bool = True) -> None:
        check_percentiles(percentiles)
        self.percentiles, self.gamma, self.signed = tuple(percentiles), gamma, signed

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the scaled volume; meta data are kept.

        Raises:
            InputError: as `scripts.transforms.percentile.grey_ends`.
        """
        grey = convert_to_numpy(volume)
        planes = [grey[index] for index in np.ndindex(grey.shape[:-2])]
        name = str(getattr(volume, "meta", {}).get("filename_or_obj", "the volume"))
        ends = grey_ends(lambda uppers: count_values(planes, uppers), grey.dtype, self.percentiles, name)
        scale = GreyScale(*ends, self.gamma, self.signed)
        result = torch.empty(grey.shape, dtype=torch.float32)
        for plane, scaled in zip(planes, result.view(-1, *grey.shape[-2:]), strict=True):
            scaled.copy_(scale(torch.from_numpy(plane.astype(np.float32))))
        return convert_to_dst_type(result, volume, dtype=torch.float32)[0]


class ScaleGreyValuesd(MapTransform):
    """Dictionary form of :class:`ScaleGreyValues`.

    Args:
        keys: images to scale, each by its own percentiles.
        percentiles: as for `ScaleGreyValues`, as all that follows.
        gamma: see there.
        signed: see there.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        percentiles: Sequence[float] = (0.5, 99.5),
        gamma: float = 1.0,
        signed: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = ScaleGreyValues(percentiles, gamma, signed)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale the volume of every key."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.scale(result[key])
        return result
