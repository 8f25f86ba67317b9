"""Layers of both families of networks: convolution, norm, and the two with an activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from scripts.networks.arithmetic import Geometry, conv
from scripts.networks.functional import (
    affine_act,
    affine_act_conv,
    group_norm,
    moments,
    own_backward,
    padded_conv,
    serves,
)
from torch import Tensor, nn

__all__ = [
    "GROUP",
    "LEAKY",
    "LEAKY_SLOPE",
    "ChannelNorm",
    "ConvNormAct",
    "Convolution",
    "GroupNorm3d",
    "by_moments",
    "coefficients",
    "conv_after",
    "normalisation",
    "ordered",
]

LEAKY_SLOPE = 0.2
LEAKY = ("leakyrelu", {"negative_slope": LEAKY_SLOPE, "inplace": True})
GROUP = ("group", {"num_groups": 8})
Kernel = tuple[int, ...]


class Convolution(nn.Conv3d):
    """`nn.Conv3d` that keeps the size before striding; monai's Convolution cannot pad by replication.

    Args:
        channels: (in, out).
        kernel: (z, y, x), odd.
        padding_mode: "replicate", "zeros" or another of torch's.
        stride: (z, y, x).
        **options: of `nn.Conv3d`; no bias by default.
    """

    def __init__(
        self, channels: tuple[int, int], kernel: Kernel, padding_mode: str, stride: Kernel = (1, 1, 1), **options: Any
    ) -> None:
        settings: dict[str, Any] = {"stride": stride, "padding_mode": padding_mode, "bias": False}
        settings |= {"kernel_size": kernel, "padding": tuple(k // 2 for k in kernel)}
        super().__init__(*channels, **(settings | options))

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input` (B, C, Z, Y, X)."""
        if not torch.jit.is_scripting():
            if self.is_lean(input):
                return padded_conv(input, self.weight, self.bias, self.geometry)
            if input.device.type == "cpu" and not torch.compiler.is_exporting():
                return conv(input, self.weight, self.bias, self.geometry)
        return self._conv_forward(input, self.weight, self.bias)

    __jit_unused_properties__ = ("geometry",)

    @property
    def geometry(self) -> Geometry:
        """Stride, padding and padding mode."""
        return Geometry(self.stride, cast(Kernel, self.padding), self.padding_mode)

    def is_lean(self, x: Tensor) -> bool:
        """Whether the functions of `scripts.networks.functional` do this layer's work."""
        return serves(x, self.out_channels) and self.padding_mode in ("replicate", "zeros")


class GroupNorm3d(nn.GroupNorm):
    """`nn.GroupNorm` for (B, C, Z, Y, X), parameter for parameter; backward on CPU in channels-last is 3x faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised tensor, the shape of `input`."""
        if not torch.jit.is_scripting():  # noqa: SIM102  TorchScript skips what is nested alone
            if own_backward(input):
                return group_norm(input, self.weight, self.bias, self.num_groups, self.eps)
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class ChannelNorm(nn.Module):
    """Normalise the channels of each voxel by themselves: a window's prediction does not depend on what else it shows.

    Ba et al., Layer normalization, arXiv 1607.06450, over the channels alone as in Liu et al., CVPR 2022 (ConvNeXt).

    Args:
        channels: C of (B, C, Z, Y, X).
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tensor, the shape of `x`."""
        rows = x.permute(0, 2, 3, 4, 1)  # a view in channels-last order
        return F.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 4, 1, 2, 3)


def normalisation(norm: tuple | str, channels: int) -> nn.Module:
    """Make MONAI's layer of that name, a faster one for group norm, or `ChannelNorm` for "channel"."""
    if norm == "channel":
        return ChannelNorm(channels)
    layer = get_norm_layer(norm, spatial_dims=3, channels=channels)
    if type(layer) is nn.GroupNorm and layer.affine:
        return GroupNorm3d(layer.num_groups, channels, eps=layer.eps)
    return layer


def coefficients(norm: Any, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and shift, (B, C) each, with which `norm` of a tensor x is ``scale x + shift``.

    Args:
        norm: one for which `by_moments` holds.
        mean: of every channel of every sample of x, (B, C).
        variance: the same.
    """
    weight, bias = norm.weight, norm.bias
    if isinstance(norm, nn.GroupNorm):
        members = (len(mean), norm.num_groups, -1)
        means, variances = mean.view(members), variance.view(members)
        # Law of total variance: no difference of large numbers, as E[x²] - E[x]² would be.
        variance = (variances.mean(2) + means.var(2, correction=0)).repeat_interleave(means.shape[2], 1)
        mean = means.mean(2).repeat_interleave(means.shape[2], 1)
    inverse = torch.rsqrt(variance + norm.eps)
    scale = inverse if weight is None else inverse * weight
    return scale, -mean * scale if bias is None else bias - mean * scale


def by_moments(norm: nn.Module) -> bool:
    """Whether a norm is settled by mean and variance of each channel of each sample: group or instance norm."""
    return isinstance(norm, nn.GroupNorm) or (isinstance(norm, nn.InstanceNorm3d) and not norm.track_running_stats)


class ConvNormAct(nn.Sequential):
    """Convolution, norm and leaky ReLU.

    Args:
        channels: (in, out).
        kernel: (z, y, x), odd.
        padding_mode: of the convolution.
        norm: a MONAI norm name or (name, arguments), or "channel".
        stride: (z, y, x).
        **options: of `nn.Conv3d`.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: Kernel,
        padding_mode: str,
        norm: tuple | str,
        stride: Kernel = (1, 1, 1),
        **options: Any,
    ) -> None:
        convolution = Convolution(channels, kernel, padding_mode, stride, **options)
        super().__init__(convolution, normalisation(norm, channels[1]), get_act_layer(LEAKY))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated tensor."""
        if not torch.jit.is_scripting():  # noqa: SIM102  TorchScript skips what is nested alone
            if self.is_lean(x):
                return self.activated(self[0](x))
        for layer in self:
            x = layer(x)
        return x

    def activated(self, raw: Tensor) -> Tensor:
        """Norm and activation of what the convolution returned; both ends are kept, nothing between."""
        return affine_act(raw, *coefficients(self[1], *moments(raw)), None, LEAKY_SLOPE)

    def is_lean(self, x: Tensor) -> bool:
        """Whether the functions of `scripts.networks.functional` do this layer's work."""
        convolution: Any = self[0]
        return convolution.is_lean(x) and by_moments(self[1])


def conv_after(layers: Sequence[ConvNormAct], last: Convolution, x: Tensor) -> Tensor:
    """Return ``last`` of ``layers`` of `x`, without keeping a tensor for the norms and activations in between.

    Args:
        layers: one or more, for all of which `is_lean` holds.
        last: what follows them.
        x: (B, C, Z, Y, X).
    """
    raw = layers[0][0](x)
    convolutions: list[Any] = [*(layer[0] for layer in layers[1:]), last]
    for layer, after in zip(layers, convolutions, strict=True):
        scale, shift = coefficients(layer[1], *moments(raw))
        raw = affine_act_conv(raw, scale, shift, after.weight, after.bias, after.geometry, LEAKY_SLOPE)
    return raw


def ordered(x: Tensor, channels_last: bool) -> Tensor:
    """Return `x` in the memory order that the weights have."""
    return x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x.contiguous()
