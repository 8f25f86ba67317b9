"""How and when a training is validated."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.handlers import StatsHandler, ValidationHandler
from scripts.dataset import whole_volumes
from scripts.handlers.instance_score import InstanceScores
from scripts.trainer import PlainErrors, last_iteration
from scripts.transforms.scaling import checked_scale
from torch import nn

__all__ = ["Validation", "validator"]


def validator(
    dataset: Any,
    network: nn.Module,
    inferer: Any,
    postprocessing: Any,
    prefix: str,
    name: str,
    scale: Sequence[float] | None = None,
    val_handlers: Sequence[Any] = (),
) -> SupervisedEvaluator | None:
    """Make the engine that segments the volumes of a dataset and scores the instances against their labels.

    Args:
        dataset: yields `image` and `label`, (1, Z, Y, X); None, or an empty one, makes no engine.
        network: a generator, on the device where it is applied.
        inferer: `scripts.inferer.MapInferer`.
        postprocessing: a transform, from maps to instances.
        prefix: of the scores' names.
        name: of the engine's lines in the log.
        scale: factors (z, y, x) by which the network sees the volumes; None for the inferer's own.
        val_handlers: further handlers.
    """
    if dataset is None or len(dataset) == 0:
        return None
    if scale is not None:
        inferer = copy.copy(inferer)
        inferer.scale = checked_scale(scale)
    # The loader has a generator of its own, so that validation leaves the random numbers of training alone.
    loader = whole_volumes(dataset, generator=torch.Generator())
    handlers = [PlainErrors(), InstanceScores(prefix=prefix), StatsHandler(iteration_log=False, name=name)]
    return SupervisedEvaluator(
        next(network.parameters()).device,
        loader,
        network,
        inferer=inferer,
        postprocessing=postprocessing,
        val_handlers=[*handlers, *val_handlers],
    )


class Validation(ValidationHandler):
    """MONAI's validation every `interval` epochs, and once more at the end of training where that is at another epoch.

    Args:
        validator: the engine that validates, or None.
        interval: epochs between validations.
    """

    def attach(self, engine: Any) -> None:
        """Validate at the ends of epochs of `engine`; nothing where there is no validator."""
        if self.validator is None:
            return
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Any, epoch: int) -> bool:
        return epoch % self.interval == 0 or engine.state.iteration >= last_iteration(engine)
