"""Convolution, norm and activation on the CPU: the same values and gradients as torch's layers, for fewer bytes moved.

Three things cost a CPU more than the arithmetic. (a) A kernel that does not cross sections is faster as a 2D
convolution over all sections, which in channels-last order is a view. (b) Padding by replication, normalising and
activating each leave a tensor that the backward pass keeps; here a convolution keeps its unpadded input alone, and what
a norm and an activation made is made again from their input when it is needed. (c) Group norm is an affine map of each
channel of each sample whose coefficients follow from the channel's mean and variance; so is squeeze-excitation, and
both together cost one pass.

All tensors are (B, C, Z, Y, X), coefficients (B, C). Nothing here runs on other devices or under `torch.compile`.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scripts.networks.arithmetic import (
    Geometry,
    activated,
    affine,
    affine_act_backward,
    channel_moments,
    conv,
    conv_backward,
)

__all__ = ["affine_act", "affine_act_conv", "moments", "padded_conv", "serves"]


def serves(x: Tensor) -> bool:
    """Whether the functions below should run on `x`: on the CPU, where a gradient will be asked for."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


# ---- the functions ---------------------------------------------------------------------------------------------------
def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (population) of every channel of every sample, (B, C) each, float32 for half precision."""
    return _Moments.apply(x)


def affine_act(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, slope: float) -> Tensor:
    """Return leaky ReLU of ``scale x + shift + residual``; `x` and `residual` are kept for the backward pass."""
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
        ctx.save_for_backward(x, scale, shift, residual)
        ctx.slope = slope
        return activated(x, scale, shift, residual, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, residual = ctx.saved_tensors
        y = activated(x, scale, shift, residual, ctx.slope)
        dx, d_scale, d_shift, dz = affine_act_backward(dy, x, y, scale, ctx.slope)
        return dx, d_scale, d_shift, None if residual is None else dz, None


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
        dx, d_scale, d_shift, _ = affine_act_backward(cast(Tensor, d_act), x, y, scale, ctx.slope)
        return dx, d_scale, d_shift, *d_weights, None, None


def _autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What autocast would make of a convolution's arguments; it does not look into functions of ours."""
    if not torch.is_autocast_enabled("cpu"):
        return x, weight, bias
    dtype = torch.get_autocast_dtype("cpu")
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
