"""What an exported file says of itself: its plan, and what other programs need beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from scripts.command.bundle import bundle_version
from scripts.plan import METADATA, Plan
from scripts.plan.export import KEY, OF_NOTE, plan_of_metadata
from scripts.plan.training import configured_keys
from torch import Tensor

__all__ = ["KEY", "Note", "activated", "note_of", "packed", "readable", "unpacked"]

_NAMES = ("map_names", "channel_names", "activations")


class Note(NamedTuple):
    """A plan, and what it lacks: names and activations of the output, which other programs cannot work out from it.

    Attributes:
        map_names: the maps, as `Representation.names` has them.
        channel_names: of the output, in order; (B, M, Z, Y, X) logits.
        activations: what makes maps of them, "sigmoid" or "tanh" for each channel.
        plan: its keys have all of `OF_NOTE`.
    """

    map_names: list[str]
    channel_names: list[str]
    activations: list[str]
    plan: Plan


def note_of(parser: ConfigParser, plan: Plan | None = None) -> Note:
    """Return the note of what inference.yaml, with a plan and overlays, describes.

    Args:
        parser: the configuration.
        plan: of the model; what it lacks, and all where it is None, comes from the configuration.
    """
    representation = parser.get_parsed_content("representation")
    plan = Plan({}, bundle_version()) if plan is None else plan
    return Note(
        map_names=representation.names,
        channel_names=representation.channel_names,
        activations=["tanh" if name == "distance" else "sigmoid" for name in representation.channel_names],
        plan=replace(plan, keys={**configured_keys(parser), **plan.keys}),
    )


def readable(note: Note) -> dict[str, Any]:
    """Return what other programs read, under the names that version 0.4.1 wrote."""
    names = {name: getattr(note, name) for name in _NAMES}
    return {**names, **{key: note.plan.keys[key] for key in OF_NOTE}, "version": bundle_version()}


def packed(note: Note) -> dict[str, str]:
    """Return a note as the metadata of a file: the plan, and JSON for other programs."""
    return {KEY: json.dumps(readable(note)), METADATA: note.plan.to_text()}


def activated(logits: Tensor, note: Note) -> Tensor:
    """Return the maps, (B, M, Z, Y, X), of logits of the same shape."""
    known = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
    return torch.stack([known[name](logits[:, i]) for i, name in enumerate(note.activations)], dim=1)


def unpacked(metadata: Mapping[str, Any], source: Any = "") -> Note | None:
    """Return the note among a file's metadata, None where there is none: a file by another tool.

    Args:
        metadata: names and texts.
        source: the file, for messages.

    Raises:
        InputError: see `plan_of_metadata`.
    """
    try:
        found = json.loads(metadata[KEY])
        maps, channels, activations = (list(map(str, found[name])) for name in _NAMES)
    except (KeyError, TypeError, ValueError):
        return None
    return Note(maps, channels, activations, plan_of_metadata(metadata, source) or Plan({}))
