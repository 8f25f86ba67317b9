"""Change of resolution: bring nuclei of both domains to a like size, or work with fewer voxels.

A scale is three factors (z, y, x); below 1 a volume gets fewer voxels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy, convert_to_tensor
from scripts.errors import InputError
from scripts.volume_io.unit import MOST_SCALED
from scripts.volume_io.volume import check_scaled_memory, scaled_shape
from torch import Tensor

__all__ = [
    "MOST_SCALED",
    "ScaleVolume",
    "ScaleVolumed",
    "checked_scale",
    "resized",
    "scaled_shape",
]


def checked_scale(scale: Sequence[float]) -> tuple[float, ...]:
    """Return the factors (z, y, x) as floats.

    Raises:
        InputError: when they are not three numbers above 0, or one is above `MOST_SCALED`.
    """
    factors = tuple(float(factor) for factor in scale)
    if len(factors) != 3 or not all(0 < factor < float("inf") for factor in factors):
        raise InputError(f"scale is {scale}; expected three factors (z, y, x) above 0, such as [1, 0.5, 0.5].")
    if max(factors) > MOST_SCALED:
        advice = "Look at the units of the voxel sizes that it comes from."
        raise InputError(f"scale is {list(scale)}; expected factors (z, y, x) of at most {MOST_SCALED:g}. {advice}")
    return factors


def resized(volume: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize grey values, (B, C, Z, Y, X) float to (B, C, *shape).

    Axes that shrink are averaged over the voxels that fall together, so that noise shrinks too and nothing is aliased;
    axes that grow are interpolated. The volume itself is returned where nothing changes.
    """
    least = tuple(min(new, n) for new, n in zip(shape, volume.shape[2:], strict=True))
    if least != tuple(volume.shape[2:]):
        volume = F.adaptive_avg_pool3d(volume, least)  # type: ignore[arg-type]
    if tuple(shape) != least:
        volume = F.interpolate(volume, size=tuple(shape), mode="trilinear", align_corners=False)
    return volume


class ScaleVolume(Transform):
    """Resize a volume (C, Z, Y, X): whole numbers are labels and keep their values, floats are averaged.

    Memory: the input as float32 and the output; labels only the output. A scale of 1 copies nothing.

    Args:
        scale: factors (z, y, x).

    Raises:
        InputError: when the factors are not three numbers above 0.
    """

    def __init__(self, scale: Sequence[float]) -> None:
        self.scale = checked_scale(scale)

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the volume in its own type; meta data are kept."""
        shape = scaled_shape(volume.shape[1:], self.scale)
        if shape == tuple(volume.shape[1:]):
            return volume
        check_scaled_memory(volume.shape[1:], self.scale, "a volume", itemsize=4 * volume.shape[0])
        if "float" in str(volume.dtype):
            grey = convert_to_tensor(volume, dtype=torch.float32, track_meta=False)
            return convert_to_dst_type(resized(grey[None], shape)[0], volume)[0]
        return convert_to_dst_type(_nearest(convert_to_numpy(volume), shape), volume)[0]


class ScaleVolumed(MapTransform):
    """Dictionary form of :class:`ScaleVolume`.

    Args:
        keys: volumes to resize, all by one scale.
        scale: factors (z, y, x).
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, scale: Sequence[float], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.resize = ScaleVolume(scale)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resize the volume of every key."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.resize(result[key])
        return result


def _nearest(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pick the voxel whose centre is nearest, (C, Z, Y, X) to (C, *shape)."""
    pairs = zip(label.shape[1:], shape, strict=True)
    index = [((np.arange(new) + 0.5) * (n / new)).astype(np.int64) for n, new in pairs]
    return label[np.ix_(range(len(label)), *index)]
