"""Files of weights: read with checks, and the plan in their metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from scripts.errors import InputError, brief
from scripts.plan.plan import METADATA, Plan
from scripts.volume_io.cause import held_instead

__all__ = ["AVERAGED", "noted", "plan_of_state", "read_weights"]

AVERAGED = "averaged_generator_yx"
"""Name, in a checkpoint of a training, of the weights that model.pt would hold."""


def read_weights(path: str | os.PathLike[str]) -> Any:
    """Return what a file of torch holds, on the CPU: tensors and plain containers alone.

    Raises:
        InputError: no such file, or no readable weights.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file. Expected the weights of a trained network, such as models/model.pt."
        ) from None
    except Exception as error:
        if (held := held_instead(Path(path))) is not None:
            raise InputError(f"{path}: found no readable weights, it is {held}") from error
        exported = os.fspath(path).endswith((".ts", ".onnx"))
        advice = (
            "An exported network needs the overlay exported.yaml."
            if exported
            else "Expected a file that training wrote."
        )
        raise InputError(f"{path}: found no readable weights ({brief(error)}). {advice}") from error


def plan_of_state(state: Any, source: Any = "") -> Plan | None:
    """Return the plan in the metadata of a state dict, where torch keeps versions of modules; None without one.

    Args:
        state: what `torch.load` gave: a state dict, or a checkpoint of a training, which has one.
        source: the file, for messages.

    Raises:
        InputError: see `Plan.from_text`.
    """
    text = noted(state).get(METADATA)
    return None if text is None else Plan.from_text(text, source)


def noted(state: Any) -> Mapping[str, Any]:
    """Return the metadata of a state dict; empty where another program wrote it."""
    if isinstance(state, Mapping) and AVERAGED in state:
        state = state[AVERAGED]
    metadata = getattr(state, "_metadata", None)
    own = metadata.get("") if isinstance(metadata, Mapping) else None
    return own if isinstance(own, Mapping) else {}
