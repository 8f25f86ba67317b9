"""Residual and non-local blocks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.blocks import ChannelSELayer
from monai.networks.layers.utils import get_act_layer
from scripts.networks.functional import affine_act, moments
from scripts.networks.layer import (
    LEAKY,
    LEAKY_SLOPE,
    ConvNormAct,
    Convolution,
    Kernel,
    by_moments,
    coefficients,
    conv_after,
    normalisation,
)
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
        if not torch.jit.is_scripting():  # noqa: SIM102  TorchScript skips what is nested alone
            if self.is_lean(x):
                return self.lean(x)
        return self.act(self.conv(x) + x)

    def is_lean(self, x: Tensor) -> bool:
        """Whether the functions of `scripts.networks.functional` do this block's work."""
        first, _, norm, _ = self._parts()
        return first.is_lean(x) and by_moments(norm)

    def _parts(self) -> tuple[Any, ...]:
        return tuple(self.conv)

    def lean(self, x: Tensor) -> Tensor:
        """Do the same as `forward`; `x`, what both convolutions return and the result are all that is kept."""
        first, second, norm, gate = self._parts()
        raw = conv_after([first], second, x)
        mean, variance = moments(raw)
        scale, shift = coefficients(norm, mean, variance)
        if isinstance(gate, ChannelSELayer):
            # The mean of the normalised tensor, which need not be made for it.
            share = gate.fc(scale * mean + shift)
            scale, shift = scale * share, shift * share
        return affine_act(raw, scale, shift, x, LEAKY_SLOPE)


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
