"""The discriminator: a PatchGAN that survives thin patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scripts.networks.layer import ConvNormAct, Convolution, ordered
from torch import Tensor, nn

__all__ = ["PatchDiscriminator3D"]


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
            ConvNormAct((widths[i], widths[i + 1]), tuple(kernels[i]), padding_mode, norm, tuple(strides[i]))
            for i in range(len(filters))
        ]
        layers.append(Convolution((widths[-1], 1), tuple(kernels[-1]), padding_mode, tuple(strides[-1]), bias=True))
        self.layers = nn.Sequential(*layers)
        self.channels_last = channels_last
        self.to(memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return scores without an activation; least squares compares them with 1 (real) and 0 (generated)."""
        return self.layers(ordered(x, self.channels_last))
