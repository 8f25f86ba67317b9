"""The plan that a file carries."""

from __future__ import annotations

import os
from typing import Any

from scripts.plan.plan import Plan
from scripts.volume_io import read_attribute, split_dataset
from scripts.volume_io.paths import SUFFIXES, is_zarr

__all__ = ["METADATA", "plan_of_state", "read_plan"]

METADATA = "plan"
"""Name of the plan among the metadata of a state dict, of an HDF5 file or of a Zarr store."""
_VOLUMES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


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
    """Return the plan of a file; None where it carries none (an older file, or another program's).

    Args:
        path: weights, or a result: maps or instances in HDF5 or Zarr (`maps.h5::main` too). TIFF and NIfTI carry none.

    Raises:
        InputError: the plan cannot be read, or is of a newer version; or see `read_attribute`.
        OSError: there is no such file of weights.
    """
    file = split_dataset(path)[0]
    if is_zarr(file) or file.name.lower().endswith(_VOLUMES):
        text = read_attribute(path, METADATA)
        return None if text is None else Plan.from_text(text, path)
    import torch  # takes seconds, which commands that only decode need not wait

    return plan_of_state(torch.load(file, map_location="cpu", weights_only=True), path)
