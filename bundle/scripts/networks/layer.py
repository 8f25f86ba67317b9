"""Layers of both families of networks: convolution, norm, and the two with an activation."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from scripts.networks.convolution import Geometry, conv
from torch import Tensor, nn

__all__ = [
    "GROUP",
    "LEAKY",
    "ChannelNorm",
    "ConvNormAct",
    "Convolution",
    "StatisticsKept",
    "normalisation",
    "ordered",
]

LEAKY = ("leakyrelu", {"negative_slope": 0.2, "inplace": True})
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
        if not torch.jit.is_scripting():  # noqa: SIM102  TorchScript skips what is nested alone
            if input.device.type == "cpu" and not torch.compiler.is_exporting():
                return conv(input, self.weight, self.bias, self.geometry)
        return self._conv_forward(input, self.weight, self.bias)

    __jit_unused_properties__ = ("geometry",)

    @property
    def geometry(self) -> Geometry:
        """Stride, padding and padding mode."""
        return Geometry(self.stride, cast(Kernel, self.padding), self.padding_mode)


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
    """Make MONAI's layer of that name, or `ChannelNorm` for "channel"."""
    if norm == "channel":
        return ChannelNorm(channels)
    return get_norm_layer(norm, spatial_dims=3, channels=channels)


class StatisticsKept:
    """Within it, a pass in training mode leaves the running statistics of a network's norms as they are.

    For passes that are worked out again: the statistics have seen their input already. It may be entered repeatedly,
    since each walk back through one graph works its stages out again.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = (layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._NormBase))
        self.norms = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms if norm.track_running_stats]

    def __enter__(self) -> None:
        for norm, _, seen in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None if seen is None else seen.clone()

    def __exit__(self, *_: object) -> None:
        for norm, momentum, seen in self.norms:
            norm.momentum, norm.num_batches_tracked = momentum, seen


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


def ordered(x: Tensor, channels_last: bool) -> Tensor:
    """Return `x` in the memory order that the weights have."""
    return x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x.contiguous()
