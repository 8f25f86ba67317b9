"""The plan that a file carries."""

from __future__ import annotations

import os

from scripts.plan.export import EXPORTS, plan_of_export
from scripts.plan.plan import METADATA, Plan
from scripts.volume_io import read_attribute, split_dataset
from scripts.volume_io.paths import SUFFIXES, is_zarr

__all__ = ["METADATA", "read_plan"]

_VOLUMES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def read_plan(path: str | os.PathLike[str]) -> Plan | None:
    """Return the plan of a file; None where it carries none (an older file, or another program's).

    The extension says what the file is. Whatever has another one, or none, is read as weights.

    Args:
        path: weights, or a checkpoint of a training; an exported network (.onnx, .ts, .bioimageio.zip); or a result:
            maps or instances in HDF5 or Zarr (`maps.h5::main` too). TIFF and NIfTI carry none.

    Raises:
        InputError: no such file, it cannot be read, or its plan is rejected (see `Plan.from_text`).
    """
    file = split_dataset(path)[0]
    if is_zarr(file) or file.name.lower().endswith(_VOLUMES):
        text = read_attribute(path, METADATA)
        return None if text is None else Plan.from_text(text, path)
    if file.name.lower().endswith(EXPORTS):
        return plan_of_export(file)
    from scripts.plan.weights import plan_of_state, read_weights  # torch takes seconds, which decoding need not wait

    return plan_of_state(read_weights(file), file)
