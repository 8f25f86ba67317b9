"""What the functions of `functional` work out, without gradients: convolutions both ways, moments, affine maps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Geometry",
    "activated",
    "affine",
    "affine_act_backward",
    "channel_moments",
    "conv",
    "conv_backward",
    "inputs_alone",
]

ATEN = torch.ops.aten
_SLOW_BELOW = 20480  # elements of batch x channels x Z x Y up to which torch's own 3D kernel is taken for a batch of 1
_LARGE = 2**15  # voxels from which on sums are taken section by section


class Geometry(NamedTuple):
    """What a convolution is beside its weights: stride and padding (z, y, x), and how it is padded."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    mode: str


class _Wanted(threading.local):
    weights = True


_wanted = _Wanted()


@contextmanager
def inputs_alone() -> Iterator[None]:
    """Within it, a walk back works out no gradient of weights; torch does not tell functions that none is asked for."""
    _wanted.weights = False
    try:
        yield
    finally:
        _wanted.weights = True


# ---- convolution -----------------------------------------------------------------------------------------------------
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


def conv_backward(
    dy: Tensor, x: Tensor, weight: Tensor, bias: bool, geometry: Geometry, needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Gradients of the input, the weights and the bias of `conv` where `needed`; `bias` says whether it had one."""
    stride, padding, mode = geometry
    inner, shape = _inner(geometry), weight.shape
    flat, batch = _is_flat(x, weight, geometry), len(x)
    if flat:
        x, dy, weight = _sections(x), _sections(_like(dy, x)), weight[:, :, 0]
        stride, padding, inner = stride[1:], padding[1:], inner[1:]
    padded = _pad(x, padding, mode)
    if slow := not flat and _is_slow(padded):
        padded, dy = torch.cat([padded, padded]), torch.cat([dy, torch.zeros_like(dy)])
    mask = [needed[0], needed[1] and _wanted.weights, bias and needed[2] and _wanted.weights]
    ones, zeros = [1] * len(stride), [0] * len(stride)
    dx, d_weight, d_bias = ATEN.convolution_backward(
        dy, padded, weight, [shape[0]] if bias else None, stride, inner, ones, False, zeros, 1, mask
    )
    if mask[0]:
        dx = dx[:1] if slow else dx
        dx = dx if mode == "zeros" or not any(padding) else _unpad(dx, x, padding)
        dx = _volumes(dx, batch) if flat else dx
    return dx if mask[0] else None, d_weight.view(shape) if mask[1] else None, d_bias if mask[2] else None


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance of every channel of every sample, (B, C) each; float32 for half precision."""
    if _plain_sums(x):
        mean = x.mean((2, 3, 4))
        return mean, (x - mean[:, :, None, None, None]).square_().mean((2, 3, 4))
    # Zeros in the precision wanted: torch's kernel answers in theirs.
    running = torch.zeros(2, x.shape[1])
    means, variances = zip(*(_sample_moments(sample, running) for sample in x.split(1)), strict=True)
    return torch.stack(means), torch.stack(variances)


def _sample_moments(sample: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
    found = [torch.batch_norm_update_stats(piece, running[0], running[1], 0.0) for piece in _pieces(sample)]
    means, variances = (torch.stack(part).double() for part in zip(*found, strict=True))
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square_().mean(0)
    return mean.to(running.dtype), variance.to(running.dtype)


def _pieces(sample: Tensor) -> tuple[Tensor, ...]:
    """The sections of a large sample (1, C, Z, Y, X), as (1, C, Y, X); a small one as it is.

    Batch norm's kernels add up all voxels of a channel in one number of single precision: over 17 x 129 x 129 voxels a
    variance is off by 1e-4. Section by section, added in double precision, it is off by 2e-6.
    """
    if sample[0, 0].numel() < _LARGE:
        return (sample,)
    return sample.transpose(1, 2)[0].split(1)


def _sums(dz: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of ``dz x`` and of ``dz`` over the voxels."""
    if _plain_sums(x):
        return (dz * x).sum((2, 3, 4)), dz.sum((2, 3, 4))
    zero, one = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
    # The reductions of batch norm's backward, one pass over both.
    sums = [
        ATEN.native_batch_norm_backward(d, v, one, zero, one, zero, one, True, 0.0, [False, True, True])[1:]
        for d, v in zip(dz.split(1), x.split(1), strict=True)
    ]
    products, plain = zip(*sums, strict=True)
    return torch.stack(products), torch.stack(plain)


def _plain_sums(x: Tensor) -> bool:
    """Whether torch's sums are to be taken; batch norm's are slow for fewer channels than a register holds."""
    return x.dtype == torch.float64 or (x.dtype == torch.float32 and x.shape[1] < 16)


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``scale x + shift`` in the precision of `x`, worked out in that of the coefficients."""
    # Torch's inference kernel of batch norm is just this, and quicker than broadcast arithmetic.
    y, unused = torch.empty_like(x), scale.new_empty(0)
    zero, one = torch.zeros_like(scale[0]), torch.ones_like(scale[0])
    for i in range(len(x)):
        ATEN.native_batch_norm.out(
            x[i : i + 1], scale[i], shift[i], zero, one, False, 0.0, 0.0, out=y[i : i + 1], save_mean=unused,
            save_invstd=unused,
        )  # fmt: skip
    return y


def activated(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, slope: float) -> Tensor:
    """Leaky ReLU of ``scale x + shift + residual``."""
    y = affine(x, scale, shift)
    if residual is not None:
        y += residual
    return F.leaky_relu_(y, slope)


def affine_act_backward(
    dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, slope: float, into: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Gradients of x, scale, shift and of what the activation was given; the last is written to `into`."""
    into = torch.empty_like(y) if into is None else into
    dz = ATEN.leaky_relu_backward.grad_input(_like(dy, y), y, slope, True, grad_input=into)
    return affine(dz, scale, torch.zeros_like(scale)), *_sums(dz, x), dz


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


def _unpad(dy: Tensor, x: Tensor, padding: tuple[int, ...]) -> Tensor:
    sides = [side for side in reversed(padding) for _ in range(2)]
    backward = ATEN.replication_pad2d_backward if len(padding) == 2 else ATEN.replication_pad3d_backward
    return backward(dy, x, sides)


def _like(dy: Tensor, x: Tensor) -> Tensor:
    """`dy` in the order in memory and the precision of `x`; gradients may come expanded."""
    last = x.is_contiguous(memory_format=torch.channels_last_3d)
    return dy.to(x.dtype).contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
