"""Several maps as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scripts.errors import InputError
from torch import Tensor

__all__ = ["Representation"]


class Representation:
    """Several maps, stacked along the channels in the order given.

    Args:
        maps: objects such as :class:`Foreground`; at least one.

    Attributes:
        names: of the maps.
        channel_names: of the channels: a map's name, numbered from 1 where it has several ("affinity 1").
        channels: how many they are.
    """

    def __init__(self, maps: Sequence[Any]) -> None:
        if not maps:
            raise InputError("Representation: found no maps, expected at least one, for example Foreground.")
        self.maps = list(maps)
        self.names = [one.name for one in self.maps]
        self.sizes = [int(one.channels) for one in self.maps]
        self.channels = sum(self.sizes)
        self.channel_names = [
            name if size == 1 else f"{name} {number}"
            for name, size in zip(self.names, self.sizes, strict=True)
            for number in range(1, size + 1)
        ]

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Integer label (Z, Y, X) to float32 (C, Z, Y, X), C = ``channels``."""
        return np.concatenate([one.encode(label) for one in self.maps])

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (B, C, Z, Y, X) to maps, each in its own range."""
        return torch.cat([one.activate(part) for one, part in self._parts(logits)], dim=1)

    def to_unit(self, activated: Tensor) -> Tensor:
        """Activated maps (B, C, Z, Y, X) to [0, 1]."""
        return torch.cat([one.to_unit(part) for one, part in self._parts(activated)], dim=1)

    def loss(self, logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        """Scalar: the sum of the maps' losses, of logits and target (B, C, Z, Y, X).

        Args:
            logits: of all maps.
            target: what `encode` made.
            known: 1 where the target counts, 0 elsewhere, (B, 1, Z, Y, X); None: it counts everywhere.
        """
        pairs = zip(self._parts(logits), self._parts(target), strict=True)
        where = () if known is None else (known,)
        return torch.stack([one.loss(part, truth, *where) for (one, part), (_, truth) in pairs]).sum()

    def _parts(self, stacked: Tensor) -> list[tuple[Any, Tensor]]:
        """Each map with its channels of (B, C, Z, Y, X)."""
        if stacked.shape[1] != self.channels:
            message = f"Representation {self.names}: found {stacked.shape[1]} channels, expected {self.channels}."
            raise InputError(f"{message} Give the network 1 + {self.channels} output channels.")
        return list(zip(self.maps, stacked.split(self.sizes, dim=1), strict=True))
