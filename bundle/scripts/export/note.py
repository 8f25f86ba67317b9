"""What an exported file says of itself."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from scripts.command.bundle import BUNDLE
from torch import Tensor

__all__ = ["KEY", "Note", "activated", "note_of", "packed", "unpacked"]

KEY = "cysgan"
"""Under which a file's metadata hold the note."""


class Note(NamedTuple):
    """What one must know to use the file elsewhere; kept as JSON in its metadata.

    Attributes:
        map_names: the maps, as `Representation.names` has them.
        channel_names: of the output, in order; (B, M, Z, Y, X) logits.
        activations: what makes maps of them, "sigmoid" or "tanh" for each channel.
        window: (z, y, x), the input size that the network was trained and is best used with; any other passes.
        scale: factors (z, y, x) by which the volume is resized for the network.
        intensity_percentiles: of the volume; they become -1 and 1, what lies beyond is clipped.
        intensity_gamma: exponent of the grey values in between, on the scale 0 to 1.
        version: of the bundle.
    """

    map_names: list[str]
    channel_names: list[str]
    activations: list[str]
    window: list[int]
    scale: list[float]
    intensity_percentiles: list[float]
    intensity_gamma: float
    version: str


def note_of(parser: ConfigParser) -> Note:
    """Return the note of what inference.yaml, with its overlays, describes."""
    representation = parser.get_parsed_content("representation")
    names = ("window", "scale", "intensity_percentiles", "intensity_gamma")
    return Note(
        map_names=representation.names,
        channel_names=representation.channel_names,
        activations=["tanh" if name == "distance" else "sigmoid" for name in representation.channel_names],
        **{name: parser.get_parsed_content(name) for name in names},
        version=json.loads((BUNDLE / "configs" / "metadata.json").read_text())["version"],
    )


def packed(note: Note) -> str:
    """Return a note as JSON."""
    return json.dumps(note._asdict())


def activated(logits: Tensor, note: Note) -> Tensor:
    """Return the maps, (B, M, Z, Y, X), of logits of the same shape."""
    known = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
    return torch.stack([known[name](logits[:, i]) for i, name in enumerate(note.activations)], dim=1)


def unpacked(text: Any) -> Note | None:
    """Return the note that a file's metadata hold, None where there is none: a file by another tool."""
    try:
        return Note(**json.loads(text))
    except (TypeError, ValueError):
        return None
