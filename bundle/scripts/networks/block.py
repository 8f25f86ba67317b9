"""What both families of networks are built of: convolutions with norm and activation, residual and non-local blocks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.blocks import ChannelSELayer
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = [
    "GroupNorm3d",
    "NonLocalBlock",
    "ResidualSEBlock",
    "bare",
    "conv_norm_act",
    "convolution",
    "enlarge",
    "normalisation",
    "ordered",
]

LEAKY = ("leakyrelu", {"negative_slope": 0.2, "inplace": True})
GROUP = ("group", {"num_groups": 8})
Kernel = tuple[int, ...]


def convolution(
    channels: tuple[int, int], kernel: Kernel, padding_mode: str, stride: Kernel = (1, 1, 1), **options: Any
) -> nn.Conv3d:
    """Convolution that keeps the size (before striding); monai's Convolution cannot pad by replication."""
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding_mode": padding_mode, "bias": False}
    settings["padding"] = tuple(k // 2 for k in kernel)
    return nn.Conv3d(*channels, **(settings | options))


def conv_norm_act(
    channels: tuple[int, int],
    kernel: Kernel,
    padding_mode: str,
    norm: tuple | str,
    stride: Kernel = (1, 1, 1),
    **options: Any,
) -> nn.Sequential:
    """Convolution, norm and leaky ReLU."""
    return nn.Sequential(
        convolution(channels, kernel, padding_mode, stride, **options),
        normalisation(norm, channels[1]),
        get_act_layer(LEAKY),
    )


class _GroupNormFunction(torch.autograd.Function):
    """Group norm whose backward pass is a few whole-tensor operations.

    Torch's own is scalar code for channels-last on CPU.
    dx = a dy + b x + c with coefficients of each sample and channel, from the sums of dy and dy x (Wu & He, ECCV 2018).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels = x.shape[:2]
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


class GroupNorm3d(nn.GroupNorm):
    """`nn.GroupNorm` for (B, C, Z, Y, X), parameter for parameter; backward on CPU in channels-last is 3x faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised tensor, the shape of `input`."""
        own_backward = input.device.type == "cpu" and input.dtype == torch.float32 and torch.is_grad_enabled()
        if not torch.jit.is_scripting() and own_backward:
            return _GroupNormFunction.apply(input, self.weight, self.bias, self.num_groups, self.eps)
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def normalisation(norm: tuple | str, channels: int) -> nn.Module:
    """Make MONAI's layer of that name, or the faster group norm in its place."""
    layer = get_norm_layer(norm, spatial_dims=3, channels=channels)
    if type(layer) is nn.GroupNorm and layer.affine:
        return GroupNorm3d(layer.num_groups, channels, eps=layer.eps)
    return layer


def ordered(x: Tensor, channels_last: bool) -> Tensor:
    """Return `x` in the memory order that the weights have."""
    return x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x.contiguous()


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` (B, C, Z, Y, X) at the size of `like`, trilinear."""
    # Enlarging to the skip's size, not by a factor, is what lets any Z, Y, X pass.
    return F.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=True)


class ResidualSEBlock(nn.Module):
    """Two convolutions and squeeze-excitation (reduction 4), added to the input: (B, C, Z, Y, X), same shape."""

    def __init__(self, channels: int, kernel: Kernel, padding_mode: str, norm: tuple | str) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv_norm_act((channels, channels), kernel, padding_mode, norm),
            convolution((channels, channels), kernel, padding_mode),
            normalisation(norm, channels),
            ChannelSELayer(3, channels, r=4, acti_type_1=LEAKY),
        )
        self.act = get_act_layer(LEAKY)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, the shape of `x`."""
        return self.act(self.conv(x) + x)


class NonLocalBlock(nn.Module):
    """Non-local block in its embedded-Gaussian form (Wang et al., CVPR 2018), the identity at start.

    Memory grows with the square of the voxels of `x`: for the lowest resolution of a U-Net only.
    """

    def __init__(self, channels: int, norm: tuple | str) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv3d(channels, channels // 2, 1) for _ in range(3))
        self.out = nn.Sequential(nn.Conv3d(channels // 2, channels, 1), normalisation(norm, channels))
        for parameter in self.out[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus attention over all of its voxels, the shape of `x`."""
        query = self.query(x).flatten(2).transpose(1, 2)
        key = self.key(x).flatten(2)
        value = self.value(x).flatten(2).transpose(1, 2)
        attended = torch.softmax(query @ key, dim=-1) @ value
        return x + self.out(attended.transpose(1, 2).unflatten(2, x.shape[2:]))


def bare(network: nn.Module) -> nn.Module:
    """Return the network itself where DistributedDataParallel wraps it."""
    return getattr(network, "module", network)
