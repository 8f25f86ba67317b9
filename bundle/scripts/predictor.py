"""A model ready to see volumes as its plan says: network, inferer and decoder of inference.yaml, checked."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scripts.check import refuse
from scripts.check.command import check_sources
from scripts.check.overlay import configuration
from scripts.check.plan import used_plan
from scripts.check.problem import closest
from scripts.check.signature import arguments
from scripts.check.source import Source
from scripts.checkpoint.weights import check_fit, load_weights
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.plan import MAY_DIFFER, Plan
from scripts.plan.file import read_plan
from scripts.plan.weights import plan_of_state
from scripts.volume_io.paths import is_name

__all__ = ["Predictor"]

logger = logging.getLogger(__name__)

_IN_MEMORY = "the model"
_NOT_OPTIONS = ("maps", "seeds", "return_seeds", "on_stage")


@dataclass(frozen=True)
class Predictor:
    """A model and how it sees volumes.

    Attributes:
        name: of its file; "the model" for a state dict.
        network: with its weights, on the device, in the mode for inference.
        parser: MONAI's parser of inference.yaml with the plan and the changes upon it.
        plan: with the values that are used.
    """

    name: str
    network: Any
    parser: Any
    plan: Plan

    @classmethod
    def of(cls, model: Any, changes: Mapping[str, Any], preset: Mapping[str, Any]) -> Predictor:
        """Make one.

        Args:
            model: model.pt by its name, or what `adapt` returned, or a state dict.
            changes: what may differ from the plan of the model, checked: `overlap`, `flips`, `scale`, and options of
                the decoder such as `seed_distance`.
            preset: other keys of inference.yaml with their values, such as `inferer::progress`.

        Raises:
            InputError: no weights, a change of what the network was trained with, or a value out of range.
        """
        weights = _weights(model)
        name = os.fspath(weights) if is_name(weights) else _IN_MEMORY
        plan = read_plan(weights) if is_name(weights) else plan_of_state(weights, name)
        parser = _configured(plan, name, changes)
        parser.update(pairs=dict(preset))
        return cls(name, _network(parser, weights), parser, used_plan(parser.config, plan))

    def part(self, key: str) -> Any:
        """The object that a key of inference.yaml defines, such as `inferer`, `decode` or `preprocessing`."""
        return self.parser.get_parsed_content(key)

    def grey(self, name: str) -> Any:
        """Return a volume as the network sees it, (1, Z, Y, X) in [-1, 1].

        Args:
            name: of the file, for the reader that `preprocessing` has.

        Raises:
            InputError: the file is not as expected.
        """
        try:
            return self.part("preprocessing")({"image": name})["image"]
        except RuntimeError as error:  # MONAI's, from ours
            if (found := expected_error(error)) is None:
                raise
            raise found from None


def _weights(model: Any) -> Any:
    """What a model is: the name of its file, or its state dict.

    Raises:
        InputError: neither.
    """
    weights = getattr(model, "state", model)
    if not (is_name(weights) or isinstance(weights, Mapping)):
        raise InputError(f"model: found {type(model).__name__}, expected the name of a file, or what adapt returned.")
    return weights


def _configured(plan: Plan | None, name: str, changes: Mapping[str, Any]) -> Any:
    """MONAI's parser of inference.yaml with the plan and the changes upon it, checked.

    Raises:
        InputError: a change that is not possible, or a value out of range.
    """
    if plan is None:
        logger.warning("%s: carries no plan of how Y was seen; the values of inference.yaml are used.", name)
    parser: Any = configuration("inference", [], plan=plan, model=name)
    options = set(arguments(parser["decoder"]["_target_"]) or ()) - {*_NOT_OPTIONS}
    known = [*(key for key in MAY_DIFFER if key != "decoder"), "scale", *sorted(options)]
    for key in changes:
        if key not in known:
            advice = closest(key, known)
            raise InputError(
                f"{key}: found a change that is not possible, expected one of {', '.join(known)}. {advice}"
            )
    given = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in changes.items()}
    parser.update(pairs={f"decoder::{key}" if key in options else key: value for key, value in given.items()})
    if "scale" in given:
        parser.update(pairs={"training_voxel_size": None})  # a scale that is given is for the volume as it is
    content = {key: value for key, value in parser.config.items() if key != "_meta_"} | {"model_path": _IN_MEMORY}
    refuse(check_sources([Source("", content, {})], {}, "inference", volumes=False).problems)
    few = np.zeros((parser.get_parsed_content("representation").channels, 4, 4, 4), np.uint8)
    parser.get_parsed_content("decoder")(few)  # rejects what no schema knows before the network works, not after
    return parser


def _network(parser: Any, weights: Any) -> Any:
    """The network with its weights, on the device, in the mode for inference.

    It is made without values first, so that no random number is drawn: the state of the caller's generator stays.
    Values then get the order in memory that the network wants, on which the last bit of the maps depends.
    """
    names = parser.get_parsed_content("representation").names
    with torch.device("meta"):
        network: Any = parser.get_parsed_content("network_def")
    order: Any = torch.channels_last_3d if getattr(network, "channels_last", False) else torch.contiguous_format
    network = network.to_empty(device="cpu").to(memory_format=order)
    if is_name(weights):
        load_weights(network, weights, names)
    else:
        check_fit(network, weights, _IN_MEMORY)
        network.load_state_dict(weights)
    network.to(parser.get_parsed_content("device")).eval()
    return network
