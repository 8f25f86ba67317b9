"""The plan that a file carries."""

from __future__ import annotations

import os
from typing import Any

import torch
from scripts.plan.plan import Plan

__all__ = ["METADATA", "plan_of_state", "read_plan"]

METADATA = "plan"
"""Name of the plan among the metadata of a state dict, of an HDF5 file or of a Zarr store."""


def plan_of_state(state: Any, source: Any = "") -> Plan | None:
    """Return the plan in the metadata of a state dict, where torch keeps versions of modules; None without one.

    Args:
        state: what `torch.load` gave.
        source: the file, for messages.

    Raises:
        InputError: see `Plan.from_text`.
    """
    metadata = getattr(state, "_metadata", None) or {}
    text = metadata.get("", {}).get(METADATA)
    return None if text is None else Plan.from_text(text, source)


def read_plan(path: str | os.PathLike[str]) -> Plan | None:
    """Return the plan of a file of weights; None where it carries none (an older file, or another program's).

    Raises:
        InputError: the plan cannot be read, or is of a newer version.
        OSError: there is no such file.
    """
    return plan_of_state(torch.load(path, map_location="cpu", weights_only=True), path)
