"""Residual and non-local blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks import ChannelSELayer
from monai.networks.layers.utils import get_act_layer
from scripts.networks.layer import LEAKY, ConvNormAct, Convolution, Kernel, normalisation
from torch import Tensor, nn

__all__ = ["NonLocalBlock", "ResidualSEBlock", "bare", "enlarge"]


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` (B, C, Z, Y, X) at the size of `like`, trilinear."""
    # Enlarging to the skip's size, not by a factor, is what lets any Z, Y, X pass.
    return F.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=True)


class ResidualSEBlock(nn.Module):
    """Two convolutions and squeeze-excitation (reduction 4), added to the input: (B, C, Z, Y, X), same shape.

    Args:
        channels: C.
        kernel: (z, y, x), odd.
        padding_mode: of the convolutions.
        norm: a MONAI norm name or (name, arguments), or "channel".
        squeeze_excitation: weigh the channels by their means over the whole window.
        squeeze_excitation_bias: the two layers that work out these weights have biases.
    """

    def __init__(
        self,
        channels: int,
        kernel: Kernel,
        padding_mode: str,
        norm: tuple | str,
        squeeze_excitation: bool = True,
        squeeze_excitation_bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            ConvNormAct((channels, channels), kernel, padding_mode, norm),
            Convolution((channels, channels), kernel, padding_mode),
            normalisation(norm, channels),
            _gate(channels, squeeze_excitation_bias) if squeeze_excitation else nn.Identity(),
        )
        self.act = get_act_layer(LEAKY)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, the shape of `x`."""
        y = self.conv(x)
        y += x  # in place: nothing before it needs its value for the backward pass
        return self.act(y)


def _gate(channels: int, bias: bool) -> ChannelSELayer:
    gate = ChannelSELayer(3, channels, r=4, acti_type_1=LEAKY)
    for layer in gate.fc if not bias else ():
        if isinstance(layer, nn.Linear):  # monai's always has one
            layer.register_parameter("bias", None)
    return gate


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
