"""Convolution, norm and activation on the CPU: the same values and gradients as torch's layers, for fewer bytes moved.

Three things cost a CPU more than the arithmetic. (a) A kernel that does not cross sections is faster as a 2D
convolution over all sections, which in channels-last order is a view. (b) Padding by replication, normalising and
activating each leave a tensor that the backward pass keeps; here a convolution keeps its unpadded input alone, and
between two convolutions what norm and activation made is made again from their input when it is needed. (c) Group norm
is an affine map of each channel of each sample whose coefficients follow from the channel's mean and variance; so is
squeeze-excitation, and both together cost one pass.

All tensors are (B, C, Z, Y, X), coefficients (B, C). Nothing here runs on other devices or under `torch.compile`.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from scripts.networks.arithmetic import (
    Geometry,
    activated,
    affine,
    affine_act_backward,
    channel_moments,
    conv,
    conv_backward,
)
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["affine_act", "affine_act_conv", "group_norm", "moments", "own_backward", "padded_conv", "serves"]

LARGE = 2**20  # elements of a tensor that no cache holds


def serves(x: Tensor, channels: int) -> bool:
    """Whether the functions below should make `channels` channels of the size of `x`.

    On the CPU, and where the tensors are too large to stay in a cache: for small ones, to make again what was thrown
    away costs more than to keep it.
    """
    return _is_here(x) and x[:, 0].numel() * max(channels, x.shape[1]) >= LARGE


def own_backward(x: Tensor) -> bool:
    """Whether `group_norm` is to be taken, not torch's: where a gradient will be asked for."""
    return _is_here(x) and torch.is_grad_enabled() and x.dtype in (torch.float32, torch.float64)


def _is_here(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """Group norm, torch's but for the backward pass."""
    return _GroupNorm.apply(x, weight, bias, groups, eps)


# ---- the functions ---------------------------------------------------------------------------------------------------
def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (population) of every channel of every sample, (B, C) each, float32 for half precision."""
    return _Moments.apply(x)


def affine_act(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, slope: float) -> Tensor:
    """Return leaky ReLU of ``scale x + shift + residual``; `x` and what is returned are kept for the backward pass."""
    return _AffineAct.apply(x, scale, shift, residual, slope)


def padded_conv(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Convolution; `x` is kept as it is, not padded."""
    return _Conv.apply(*_autocast(x, weight, bias), geometry)


def affine_act_conv(
    x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, slope: float
) -> Tensor:
    """Convolution of leaky ReLU of ``scale x + shift``; `x` alone is kept."""
    x, weight, bias = _autocast(x, weight, bias)
    return _AffineActConv.apply(x, scale, shift, weight, bias, geometry, slope)


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = channel_moments(x)
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_mean: Tensor, d_variance: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        slope = 2 * d_variance / x[0, 0].numel()
        return affine(x, slope, d_mean / x[0, 0].numel() - slope * mean)


class _AffineAct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, slope: float) -> Tensor:
        y = activated(x, scale, shift, residual, slope)
        # Not what it was made of: the convolution that follows keeps it anyway.
        ctx.save_for_backward(x, scale, y)
        ctx.slope, ctx.residual = slope, residual is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, y = ctx.saved_tensors
        dx, d_scale, d_shift, dz = affine_act_backward(dy, x, y, scale, ctx.slope)
        return dx, d_scale, d_shift, dz if ctx.residual else None, None


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.bias = geometry, bias is not None
        return conv(x, weight, bias, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return *conv_backward(dy, x, weight, ctx.bias, ctx.geometry, ctx.needs_input_grad[:3]), None


class _AffineActConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: Geometry,
        slope: float,
    ) -> Tensor:
        ctx.save_for_backward(x, scale, shift, weight)
        ctx.geometry, ctx.bias, ctx.slope = geometry, bias is not None, slope
        return conv(activated(x, scale, shift, None, slope), weight, bias, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight = ctx.saved_tensors
        y = activated(x, scale, shift, None, ctx.slope)
        needed = (True, *ctx.needs_input_grad[3:5])
        d_act, *d_weights = conv_backward(dy, y, weight, ctx.bias, ctx.geometry, needed)
        dx, d_scale, d_shift, _ = affine_act_backward(cast(Tensor, d_act), x, y, scale, ctx.slope, into=y)
        return dx, d_scale, d_shift, *d_weights, None, None


class _GroupNorm(torch.autograd.Function):
    """Group norm whose backward pass is a few whole-tensor operations; torch's own is scalar code for channels-last.

    dx = a dy + b x + c with coefficients of each sample and channel, from the sums of dy and dy x (Wu & He, ECCV 2018).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels = x.shape[:2]
        # An axis of one voxel leaves the order in memory open, and torch then takes another than it was made in.
        last = x.is_contiguous(memory_format=torch.channels_last_3d) and min(x.shape) > 1
        x = x if last else x.contiguous()
        y, mean, inverse = torch.native_group_norm(x, weight, bias, batch, channels, x[0, 0].numel(), groups, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        (batch, channels), groups = x.shape[:2], mean.shape[1]
        members = channels // groups
        mean, inverse = (v.repeat_interleave(members, 1) for v in (mean, inverse))
        sum_dy, sum_dy_x = dy.sum((2, 3, 4)), (dy * x).sum((2, 3, 4))
        sum_dy_normalised = (sum_dy_x - mean * sum_dy) * inverse

        def group_mean(values: Tensor) -> Tensor:
            total = (values * weight).view(batch, groups, members).sum(2).repeat_interleave(members, 1)
            return total / (members * x[0, 0].numel())

        b = -(inverse**2) * group_mean(sum_dy_normalised)
        c = -inverse * group_mean(sum_dy) - b * mean
        a, b, c = (v.view(batch, channels, 1, 1, 1) for v in (inverse * weight, b, c))
        return torch.addcmul(c, dy, a).addcmul_(x, b), sum_dy_normalised.sum(0), sum_dy.sum(0), None, None


def _autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What autocast would make of a convolution's arguments; it does not look into functions of ours."""
    if not torch.is_autocast_enabled("cpu"):
        return x, weight, bias
    dtype = torch.get_autocast_dtype("cpu")
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
