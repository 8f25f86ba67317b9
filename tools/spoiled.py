"""Candidates that are spoiled on purpose, which a judge without labels must not choose. For the maps of target bcd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scripts.judge.consistency import OVERLAP
from scripts.predictor import Predictor
from skimage.filters import threshold_otsu
from torch import Tensor, nn

__all__ = ["spoiled"]

SURE = 20.0
"""Logit of a probability of 0 or 1."""
Change = Callable[[Tensor, Any], Tensor]


class Spoiled(nn.Module):
    """Another network instead of the model's: windows (B, 1, z, y, x) to logits of the image and three maps."""

    def __init__(self, network: Any, change: Change) -> None:
        super().__init__()
        self.network, self.change = network, change
        self.down = network.down  # whose channels the judge drops

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, 4, z, y, x)."""
        return self.change(windows, self.network)


def spoiled(predictor: Predictor) -> Iterator[Predictor]:
    """Give spoiled copies of a model, named by what is wrong with them."""
    for name, change in CHANGES.items():
        yield replace(predictor, name=name, network=Spoiled(predictor.network, change))
    scale = [factor / 2 for factor in predictor.part("scale")]
    small = Predictor.of(predictor.name, {"overlap": OVERLAP, "scale": scale}, {"inferer::progress": False})
    small.parser.update(pairs={"decode::progress": False})
    yield replace(small, name="seen at half the size")


def _maps(foreground: Tensor, contour: float = -SURE, distance: float = SURE) -> Tensor:
    """Logits of a foreground (B, 1, z, y, x) whose connected parts are instances."""
    even = torch.full_like(foreground, 1.0)
    return torch.cat([foreground, foreground, contour * even, distance * even], dim=1)


def _otsu(windows: Tensor, _: Any) -> Tensor:
    bars = [threshold_otsu(np.asarray(window.cpu())) for window in windows]
    return _maps(torch.stack([SURE * torch.sign(w - bar) for w, bar in zip(windows, bars, strict=True)]))


CHANGES: dict[str, Change] = {
    "maps inverted": lambda windows, network: -network(windows),
    "grey values inverted": lambda windows, network: network(-windows),
    "neighbours joined": lambda windows, network: _maps(network(windows)[:, 1:2]),
    "everything one instance": lambda windows, _: _maps(torch.full_like(windows, SURE)),
    "nothing found": lambda windows, _: _maps(torch.full_like(windows, -SURE)),
    "Otsu's threshold": _otsu,
}
