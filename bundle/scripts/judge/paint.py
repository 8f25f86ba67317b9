"""Volumes made of instances and a value for each: their confidence, or the ones that can be trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scripts.plan import Plan
from scripts.plan.file import METADATA, read_plan
from scripts.report.sections import parts_of
from scripts.volume_io import ChunkedVolume, write_volume

__all__ = ["painted", "write_sure"]


def painted(labels: ChunkedVolume, ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a volume (Z, Y, X) with a value for each instance, 0 for background; it has the type of the values.

    Args:
        labels: instances, of which parts are read.
        ids: (N,), ascending.
        values: (N,).
    """
    result = np.zeros(labels.shape, values.dtype)
    table = np.concatenate([np.zeros(1, values.dtype), values])
    for box, part in parts_of(labels):
        place = np.searchsorted(ids, part, side="right")
        result[box] = table[np.where(part > 0, place, 0)]
    return result


def write_sure(
    path: Path, image: ChunkedVolume, labels: ChunkedVolume, ids: np.ndarray, is_sure: np.ndarray, plan: Plan | None
) -> None:
    """Write the instances that can be trusted, with their ids, and the plan that they were made with.

    Memory: as many bytes per voxel as the labels have.

    Args:
        path: of the volume.
        image: what the instances are of, for the voxel size.
        labels: all instances.
        ids: (N,), ascending.
        is_sure: (N,), bool.
        plan: where the labels carry none; None: not known.
    """
    kept = np.where(is_sure, ids, 0).astype(labels.dtype)
    made = read_plan(labels.name) or plan
    attributes = {} if made is None else {METADATA: made.to_text()}
    write_volume(path, painted(labels, ids, kept), image.voxel_size, labels=True, attributes=attributes)
