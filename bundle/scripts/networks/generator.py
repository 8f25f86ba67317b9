"""The generator: a 3D residual squeeze-excitation U-Net that translates and segments at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from scripts.networks.block import NonLocalBlock, ResidualSEBlock, enlarge
from scripts.networks.convolution import conv
from scripts.networks.layer import GROUP, ConvNormAct, Convolution, Kernel, StatisticsKept, ordered
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["SegmentationGenerator"]


class SegmentationGenerator(nn.Module):
    """3D residual squeeze-excitation U-Net: one image to its translation and the logits of its segmentation maps.

    (B, 1, Z, Y, X) to (B, out_channels, Z, Y, X) for any Z, Y, X: channel 0 is the translated image before tanh, the
    others are map logits. Skips are added, not concatenated; with `project_lowest` every decoder stage also receives a
    1x1x1 projection of the lowest features (the published "plus" form). 3.6 million parameters at the default width.
    Parameter for parameter the published network with `squeeze_excitation_bias` false and all else by default.

    Args:
        out_channels: 1 + the channels of the representation.
        filters: width of each stage.
        isotropic_from: the first stage with (3, 3, 3) kernels and stride 2 on all axes; those before keep z.
        blocks_isotropic_from: the first stage whose residual blocks have (3, 3, 3) kernels. None: none, as published;
            depth is then crossed by the stages' first convolutions alone, too little for a narrow network.
        in_channels: image channels.
        norm: a MONAI norm name or (name, arguments), or "channel": each voxel by itself (`ChannelNorm`).
        padding_mode: of the convolutions; "replicate" is published, "zeros" is up to 40 % faster on CPU.
        squeeze_excitation: weigh channels by their means over the window.
        non_local: attention over the lowest resolution.
        project_lowest: the "plus" form.
        channels_last: keep weights in channels-last order, which is faster on CPU and on tensor cores.
        checkpoint_activations: keep what enters each stage alone for the backward pass and work out the rest again:
            a third of the memory of a training for a good third more time. Gradients are the same.
        squeeze_excitation_bias: biases in the squeeze-excitation; the published network has none there.
    """

    def __init__(
        self,
        out_channels: int = 4,
        filters: Sequence[int] = (32, 64, 96, 128, 160),
        isotropic_from: int = 3,
        blocks_isotropic_from: int | None = None,
        in_channels: int = 1,
        norm: tuple | str | list = GROUP,
        padding_mode: str = "replicate",
        squeeze_excitation: bool = True,
        non_local: bool = True,
        project_lowest: bool = True,
        channels_last: bool = True,
        checkpoint_activations: bool = False,
        squeeze_excitation_bias: bool = True,
    ) -> None:
        super().__init__()
        norm = tuple(norm) if isinstance(norm, list) else norm
        kernels: list[Kernel] = [(1, 3, 3) if i < isotropic_from else (3, 3, 3) for i in range(len(filters))]
        flat_blocks = len(filters) if blocks_isotropic_from is None else blocks_isotropic_from
        blocks: list[Kernel] = [(1, 3, 3) if i < flat_blocks else (3, 3, 3) for i in range(len(filters))]
        strides: list[Kernel] = [(1, 1, 1)]
        strides += [(1, 2, 2) if i < isotropic_from else (2, 2, 2) for i in range(1, len(filters))]
        squeeze = squeeze_excitation, squeeze_excitation_bias
        self.entry = ConvNormAct((in_channels, filters[0]), (1, 5, 5), padding_mode, norm)
        self.down = nn.ModuleList(
            nn.Sequential(
                ConvNormAct((filters[max(0, i - 1)], width), kernels[i], padding_mode, norm, strides[i]),
                ResidualSEBlock(width, blocks[i], padding_mode, norm, *squeeze),
            )
            for i, width in enumerate(filters)
        )
        self.attention = NonLocalBlock(filters[-1], norm) if non_local else nn.Identity()
        pairs = list(zip(filters[1:], filters[:-1], kernels[1:], strict=True))
        self.up = nn.ModuleList(ConvNormAct((low, high), k, padding_mode, norm) for low, high, k in pairs)
        self.merge = nn.ModuleList(
            ResidualSEBlock(high, k, padding_mode, norm, *squeeze)
            for high, k in zip(filters[:-1], blocks[:-1], strict=True)
        )
        self.project_lowest = project_lowest
        # The published projections replicate the border by one voxel before enlarging; kept for its checkpoints.
        projections = [ConvNormAct((filters[-1], w), (1, 1, 1), padding_mode, norm, padding=1) for w in filters[:-1]]
        self.project = nn.ModuleList(projections if project_lowest else [nn.Identity() for _ in projections])
        self.exit = Convolution((filters[0], out_channels), (1, 5, 5), padding_mode, bias=True)
        self.channels_last, self.checkpoint_activations = channels_last, checkpoint_activations
        self.to(memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return translated image (before tanh) and map logits, (B, out_channels, Z, Y, X)."""
        return self.exit(self._features(x))

    def maps(self, x: Tensor) -> Tensor:
        """Return the map logits alone, (B, out_channels - 1, Z, Y, X); the image is not worked out."""
        exit: Any = self.exit
        return conv(self._features(x), exit.weight[1:], exit.bias[1:], exit.geometry)

    def without_image(self) -> SegmentationGenerator:
        """Return a copy whose last layer is cut to the maps: `forward` gives what `maps` gives here."""
        alone = copy.deepcopy(self)
        for name, value in list(alone.exit.named_parameters()):
            setattr(alone.exit, name, nn.Parameter(value.detach()[1:].clone(), requires_grad=value.requires_grad))
        alone.exit.out_channels -= 1
        return alone

    def _features(self, x: Tensor) -> Tensor:
        x = ordered(x, self.channels_last)
        if not torch.jit.is_scripting():  # noqa: SIM102
            if self.checkpoint_activations and torch.is_grad_enabled():
                return self._remade_features(x)
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            x = self._enter(x) if i == 0 else stage(x)
            skips.append(x)
        x = lowest = self.attention(skips.pop())
        for level in range(len(skips) - 1, -1, -1):
            x = self._merge(level, self._join(level, x, skips.pop(), lowest))
        return x

    def _enter(self, x: Tensor) -> Tensor:
        """The entry convolution and the first stage."""
        return self.down[0](self.entry(x))

    def _remade_features(self, x: Tensor) -> Tensor:
        """The same, each stage worked out again when its gradient is asked for."""
        skips = [self._remade(self._enter, x)]
        for stage in self.down[1:]:
            skips.append(self._remade(stage, skips[-1]))
        x = lowest = self.attention(skips.pop())
        for level in range(len(skips) - 1, -1, -1):
            x = self._remade(partial(self._decode, level), x, skips.pop(), lowest)
        return x

    def _remade(self, stage: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        def contexts() -> tuple[nullcontext, StatisticsKept]:
            return nullcontext(), StatisticsKept(self)

        # No layer draws random numbers, so that their state need not be kept.
        return checkpoint(stage, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)

    def _decode(self, level: int, x: Tensor, skip: Tensor, lowest: Tensor) -> Tensor:
        return self._merge(level, self._join(level, x, skip, lowest))

    # TorchScript takes modules by constant index or in a loop alone, hence the loops that pick one level. Two of them,
    # so that a skip is let go before the convolutions that follow it, when nothing else needs it.
    def _join(self, level: int, x: Tensor, skip: Tensor, lowest: Tensor) -> Tensor:
        for i, (up, project) in enumerate(zip(self.up, self.project)):  # noqa: B905
            if i == level:
                x = enlarge(up(x), skip)
                x += skip
                if self.project_lowest:
                    x += enlarge(project(lowest), x)
        return x

    def _merge(self, level: int, x: Tensor) -> Tensor:
        for i, merge in enumerate(self.merge):
            if i == level:
                x = merge(x)
        return x
