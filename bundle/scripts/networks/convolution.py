"""Convolution in the form that is fastest on a CPU: kernels within a section as 2D convolutions of all sections."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Geometry", "conv"]

_SLOW_BELOW = 20480  # elements of batch x channels x Z x Y up to which torch's own 3D kernel is taken for a batch of 1


class Geometry(NamedTuple):
    """What a convolution is beside its weights: stride and padding (z, y, x), and how it is padded."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    mode: str


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Convolution of any stride and padding, in the form that is fastest on the CPU; gradients are torch's."""
    stride, padding, mode = geometry
    if _is_flat(x, weight, geometry):
        padded = _pad(_sections(x), padding[1:], mode)
        return _volumes(F.conv2d(padded, weight[:, :, 0], bias, stride[1:], _inner(geometry)[1:]), len(x))
    padded = _pad(x, padding, mode)
    if _is_slow(padded):
        return F.conv3d(torch.cat([padded, padded]), weight, bias, stride, _inner(geometry))[:1]
    return F.conv3d(padded, weight, bias, stride, _inner(geometry))


def _is_flat(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether sections do not see each other, and are a view of `x`."""
    alone = weight.shape[2] == 1 and geometry.stride[0] == 1 and geometry.padding[0] == 0
    return alone and x.is_contiguous(memory_format=torch.channels_last_3d)


def _is_slow(padded: Tensor) -> bool:
    """Whether torch would take a kernel of a quarter of the speed; a second sample costs only twice the work."""
    return len(padded) == 1 and padded.dtype == torch.float32 and padded[:, :, :, :, 0].numel() <= _SLOW_BELOW


def _inner(geometry: Geometry) -> tuple[int, ...]:
    """The padding that is left to torch's convolution."""
    return geometry.padding if geometry.mode == "zeros" else (0,) * len(geometry.padding)


def _sections(x: Tensor) -> Tensor:
    """(B, C, Z, Y, X) in channels-last order to a view (B Z, C, Y, X)."""
    return x.transpose(1, 2).flatten(0, 1)


def _volumes(x: Tensor, batch: int) -> Tensor:
    """The reverse of `_sections`."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


def _pad(x: Tensor, padding: tuple[int, ...], mode: str) -> Tensor:
    if mode == "zeros" or not any(padding):
        return x
    return F.pad(x, [side for side in reversed(padding) for _ in range(2)], mode=mode)
