"""Weights whose plan is not in the configuration: MONAI Label loads them and knows of no plan."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from scripts.check.merge import Merged
from scripts.check.plan import contradictions, given_scale
from scripts.check.problem import Problem, refuse, shown
from scripts.check.source import Source
from scripts.command.bundle import parser_at_work
from scripts.plan import METADATA
from scripts.plan.file import read_plan

__all__ = ["CheckPland", "weights_of"]

logger = logging.getLogger(__name__)


class CheckPland(MapTransform):
    """Before a volume is read, compare the configuration with the plan of the weights that a request asks for.

    `scripts.label_server` merges plans, so there is nothing to compare. MONAI Label's own server does not, and would
    use the values of inference.yaml for any weights.

    Args:
        keys: the images.

    Raises:
        InputError: by calling it, where values of the configuration contradict the plan.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        parser = parser_at_work()
        self.config: Mapping[str, Any] = {} if parser is None else parser.config

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is."""
        if self.config and self.config.get(METADATA) is None:
            path = weights_of(Path(str(self.config["bundle_root"])) / "models", data)
            if path.is_file() and (plan := read_plan(path)) is not None:
                _compare(self.config, plan, str(path))
        return dict(data)


def weights_of(folder: Path, request: Mapping[Any, Any]) -> Path:
    """Return the file of weights that MONAI Label loads for a request.

    Args:
        folder: of the weights.
        request: its `model_filename` is a name, or names of which the first counts.
    """
    name = request.get("model_filename") or "model.pt"
    path = folder / str(name if isinstance(name, str) else name[0])
    return path if path.is_file() else folder / "model.pt"


def _compare(config: Mapping[str, Any], plan: Any, model: str) -> None:
    merged = Merged([Source("configs/inference.yaml", dict(config), {})], {})
    problems = [one for one in contradictions(merged, plan, model) if one.key != "training_voxel_size"]
    if given_scale(merged, plan, model) is not None:
        words = f"{shown(plan.keys['scale'])}, with which {model} was trained"
        problems.append(Problem(merged.place("scale"), "scale", shown(config["scale"]), words))
    advice = "Start the server by `python -m scripts.label_server`, which takes these values from the model."
    refuse([one._replace(advice=advice) for one in problems])
