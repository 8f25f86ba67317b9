"""The two network families of the method, built from MONAI layers: generator U-Net and patch discriminator.

Both follow the published design (arXiv 2204.03082 and its released code): kernels and strides are anisotropic in the
fine stages, where serial sections are thicker than the in-plane voxel, and isotropic in the coarse ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.blocks import ChannelSELayer
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["GroupNorm3d", "NonLocalBlock", "PatchDiscriminator3D", "ResidualSEBlock", "SegmentationGenerator"]

_LEAKY = ("leakyrelu", {"negative_slope": 0.2, "inplace": True})
_GROUP = ("group", {"num_groups": 8})
_Kernel = tuple[int, ...]


def _convolution(
    channels: tuple[int, int], kernel: _Kernel, padding_mode: str, stride: _Kernel = (1, 1, 1), **options: Any
) -> nn.Conv3d:
    """Convolution that keeps the size (before striding); monai's Convolution cannot pad by replication."""
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding_mode": padding_mode, "bias": False}
    settings["padding"] = tuple(k // 2 for k in kernel)
    return nn.Conv3d(*channels, **(settings | options))


def _conv_norm_act(
    channels: tuple[int, int],
    kernel: _Kernel,
    padding_mode: str,
    norm: tuple | str,
    stride: _Kernel = (1, 1, 1),
    **options: Any,
) -> nn.Sequential:
    return nn.Sequential(
        _convolution(channels, kernel, padding_mode, stride, **options),
        _normalisation(norm, channels[1]),
        get_act_layer(_LEAKY),
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


def _normalisation(norm: tuple | str, channels: int) -> nn.Module:
    layer = get_norm_layer(norm, spatial_dims=3, channels=channels)
    if type(layer) is nn.GroupNorm and layer.affine:
        return GroupNorm3d(layer.num_groups, channels, eps=layer.eps)
    return layer


def _ordered(x: Tensor, channels_last: bool) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x.contiguous()


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    # Enlarging to the skip's size, not by a factor, is what lets any Z, Y, X pass.
    return F.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=True)


class ResidualSEBlock(nn.Module):
    """Two convolutions and squeeze-excitation (reduction 4), added to the input: (B, C, Z, Y, X), same shape."""

    def __init__(self, channels: int, kernel: _Kernel, padding_mode: str, norm: tuple | str) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv_norm_act((channels, channels), kernel, padding_mode, norm),
            _convolution((channels, channels), kernel, padding_mode),
            _normalisation(norm, channels),
            ChannelSELayer(3, channels, r=4, acti_type_1=_LEAKY),
        )
        self.act = get_act_layer(_LEAKY)

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
        self.out = nn.Sequential(nn.Conv3d(channels // 2, channels, 1), _normalisation(norm, channels))
        for parameter in self.out[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus attention over all of its voxels, the shape of `x`."""
        query = self.query(x).flatten(2).transpose(1, 2)
        key = self.key(x).flatten(2)
        value = self.value(x).flatten(2).transpose(1, 2)
        attended = torch.softmax(query @ key, dim=-1) @ value
        return x + self.out(attended.transpose(1, 2).unflatten(2, x.shape[2:]))


class SegmentationGenerator(nn.Module):
    """3D residual squeeze-excitation U-Net: one image to its translation and the logits of its segmentation maps.

    (B, 1, Z, Y, X) to (B, out_channels, Z, Y, X) for any Z, Y, X: channel 0 is the translated image before tanh, the
    others are map logits. Skips are added, not concatenated; with `project_lowest` every decoder stage also receives a
    1x1x1 projection of the lowest features (the published "plus" form). 3.6 million parameters at the default width.

    Args:
        out_channels: 1 + the channels of the representation.
        filters: width of each stage.
        isotropic_from: the first stage with (3, 3, 3) kernels and stride 2 on all axes; those before keep z.
        blocks_isotropic_from: the first stage whose residual blocks have (3, 3, 3) kernels. None: none, as published;
            depth is then crossed by the stages' first convolutions alone, too little for a narrow network.
        in_channels: image channels.
        norm: a MONAI norm name or (name, arguments).
        padding_mode: of the convolutions; "replicate" is published, "zeros" is up to 40 % faster on CPU.
        non_local: attention over the lowest resolution.
        project_lowest: the "plus" form.
        channels_last: keep weights in channels-last order, which is faster on CPU and on tensor cores.
    """

    def __init__(
        self,
        out_channels: int = 4,
        filters: Sequence[int] = (32, 64, 96, 128, 160),
        isotropic_from: int = 3,
        blocks_isotropic_from: int | None = None,
        in_channels: int = 1,
        norm: tuple | str | list = _GROUP,
        padding_mode: str = "replicate",
        non_local: bool = True,
        project_lowest: bool = True,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        norm = tuple(norm) if isinstance(norm, list) else norm
        kernels: list[_Kernel] = [(1, 3, 3) if i < isotropic_from else (3, 3, 3) for i in range(len(filters))]
        flat_blocks = len(filters) if blocks_isotropic_from is None else blocks_isotropic_from
        blocks: list[_Kernel] = [(1, 3, 3) if i < flat_blocks else (3, 3, 3) for i in range(len(filters))]
        strides: list[_Kernel] = [(1, 1, 1)]
        strides += [(1, 2, 2) if i < isotropic_from else (2, 2, 2) for i in range(1, len(filters))]
        self.entry = _conv_norm_act((in_channels, filters[0]), (1, 5, 5), padding_mode, norm)
        self.down = nn.ModuleList(
            nn.Sequential(
                _conv_norm_act((filters[max(0, i - 1)], width), kernels[i], padding_mode, norm, strides[i]),
                ResidualSEBlock(width, blocks[i], padding_mode, norm),
            )
            for i, width in enumerate(filters)
        )
        self.attention = NonLocalBlock(filters[-1], norm) if non_local else nn.Identity()
        pairs = list(zip(filters[1:], filters[:-1], kernels[1:], strict=True))
        self.up = nn.ModuleList(_conv_norm_act((low, high), k, padding_mode, norm) for low, high, k in pairs)
        self.merge = nn.ModuleList(
            ResidualSEBlock(high, k, padding_mode, norm) for high, k in zip(filters[:-1], blocks[:-1], strict=True)
        )
        self.project_lowest = project_lowest
        # The published projections replicate the border by one voxel before enlarging; kept for its checkpoints.
        projections = [_conv_norm_act((filters[-1], w), (1, 1, 1), padding_mode, norm, padding=1) for w in filters[:-1]]
        self.project = nn.ModuleList(projections if project_lowest else [nn.Identity() for _ in projections])
        self.exit = _convolution((filters[0], out_channels), (1, 5, 5), padding_mode, bias=True)
        self.channels_last = channels_last
        self.to(memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return translated image (before tanh) and map logits, (B, out_channels, Z, Y, X)."""
        x = self.entry(_ordered(x, self.channels_last))
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        x = lowest = self.attention(skips.pop())
        for level in range(len(skips) - 1, -1, -1):
            x = self._decode(level, x, skips[level], lowest)
        return self.exit(x)

    def _decode(self, level: int, x: Tensor, skip: Tensor, lowest: Tensor) -> Tensor:
        # TorchScript takes modules by constant index or in a loop alone, hence the loop that picks one level.
        for i, (up, project, merge) in enumerate(zip(self.up, self.project, self.merge)):  # noqa: B905
            if i == level:
                x = _enlarge(up(x), skip) + skip
                x = merge(x + _enlarge(project(lowest), x) if self.project_lowest else x)
        return x


class PatchDiscriminator3D(nn.Module):
    """Anisotropic 3D PatchGAN: (B, C, Z, Y, X) to a grid of scores (B, 1, Z', Y', X'), 17x129x129 to 9x9x9.

    MONAI's PatchDiscriminator strides all axes alike, which a 17-section patch does not survive. 1.45 million
    parameters at the default width; instance norm without affine parameters after all convolutions but the last.

    Args:
        in_channels: 1 for images, the channels of the representation for maps.
        filters: width of each convolution but the last; kernels and strides below are one longer.
        kernels: kernel of each convolution.
        strides: stride of each convolution.
        norm: a MONAI norm name or (name, arguments).
        padding_mode: as in `SegmentationGenerator`.
        channels_last: as in `SegmentationGenerator`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        filters: Sequence[int] = (64, 64, 128, 128, 256),
        kernels: Sequence[Sequence[int]] = ((1, 5, 5), (1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides: Sequence[Sequence[int]] = ((1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
        norm: tuple | str | list = ("instance", {"affine": False}),
        padding_mode: str = "replicate",
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        if not len(kernels) == len(strides) == len(filters) + 1:
            found, needed = f"{len(kernels)} and {len(strides)}", len(filters) + 1
            raise ValueError(f"{len(filters)} filters need {needed} kernels and strides, got {found}")
        norm = tuple(norm) if isinstance(norm, list) else norm
        widths = [in_channels, *filters]
        layers: list[nn.Module] = [
            _conv_norm_act((widths[i], widths[i + 1]), tuple(kernels[i]), padding_mode, norm, tuple(strides[i]))
            for i in range(len(filters))
        ]
        layers.append(_convolution((widths[-1], 1), tuple(kernels[-1]), padding_mode, tuple(strides[-1]), bias=True))
        self.layers = nn.Sequential(*layers)
        self.channels_last = channels_last
        self.to(memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return scores without an activation; least squares compares them with 1 (real) and 0 (generated)."""
        return self.layers(_ordered(x, self.channels_last))
