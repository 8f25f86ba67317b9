"""A network that takes grey values as bioimage.io's format can scale them, and gives maps."""

from __future__ import annotations

import torch
from scripts.export.note import Note
from torch import Tensor, nn

__all__ = ["PreparedNetwork"]


class PreparedNetwork(nn.Module):
    """A network of logits with what stands before and behind it: the gamma of the grey values, the activations.

    The format knows neither a gamma nor an activation for each channel; inside the network they need no code of ours.

    Args:
        network: images in [-1, 1] to the logits of the maps, as `scripts.export.file.maps_alone` returns it.
        note: of the network.
    """

    def __init__(self, network: nn.Module, note: Note) -> None:
        super().__init__()
        self.network = network
        self.gamma = float(note.plan.keys["intensity_gamma"])
        signed = torch.tensor([name == "tanh" for name in note.activations])
        self.signed: Tensor
        self.register_buffer("signed", signed.view(1, -1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps, (B, M, Z, Y, X), of grey values (B, 1, Z, Y, X) in [0, 1]; what lies beyond is clipped."""
        logits = self.network(x.clamp(0.0, 1.0).pow(self.gamma) * 2.0 - 1.0)
        return torch.where(self.signed, logits.tanh(), logits.sigmoid())
