"""What a lab would do without CySGAN, in the same engine: same data, networks, optimisers, savers and number of steps.

Supervision on the source alone needs no class: it is the warm-up for as long as training lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from scripts.networks import bare
from scripts.trainer.engine import CySGANTrainer
from scripts.trainer.length import last_iteration
from torch import Tensor, nn

__all__ = ["MeanTeacherTrainer", "TwoStepTrainer"]

_ON_MAPS = (
    *("segmentation_x", "segmentation_rec_x", "segmentation_same_x"),
    *("structure", "adversarial_s", "adversarial_s_rec", "share_y"),
)


class TwoStepTrainer(CySGANTrainer):
    """First a plain CycleGAN, then a segmentation network on X translated by it, with the labels of X.

    The segmentation network is `generator_yx`, from its first weights on: its part in the translation is over by then.
    Its image channel is not trained.

    Args:
        networks: of `CySGANTrainer`.
        warm_up_iterations: length of the second step, which comes last and uses the optimiser `warm_up`.
        loss_weights: of the first step's adversarial and cycle terms; its terms on maps weigh 0.
        **options: of `CySGANTrainer`.
    """

    def __init__(
        self,
        *,
        networks: Mapping[str, nn.Module],
        warm_up_iterations: int = 0,
        loss_weights: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        self.segmentation_iterations = warm_up_iterations
        # Before the handlers attach: a checkpoint among them gives the network other weights.
        self.first = deepcopy(bare(networks["generator_yx"]))
        super().__init__(
            networks=networks, loss_weights={**(loss_weights or {}), **dict.fromkeys(_ON_MAPS, 0.0)}, **options
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The first weights too, which a change of `start_from` must not change."""
        return {"first_generator_yx": self.first}

    @property
    def stage_end(self) -> int:
        """Last iteration of the translation."""
        return last_iteration(self) - self.segmentation_iterations

    @property
    def stage_name(self) -> str:
        """What the network has learned from so far, for people."""
        return "translation alone" if self.state.iteration <= self.stage_end else "translated X"

    def _stage(self) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        return self._adversarial_step if self.state.iteration <= self.stage_end else self._segment_translated

    def _stage_completed(self) -> None:
        pass

    def _stage_started(self) -> None:
        bare(self.network).load_state_dict(self.first.state_dict())
        self.state.panels.clear()

    def _segment_translated(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad(), self._autocast():
            translated, _ = self._translate("generator_xy", batch["image_x"])
        with self._autocast():
            terms = self._supervised_terms({**batch, "image_x": translated})
        return self._step_alone({"segmentation_translated_x": terms["segmentation_x"]})


class MeanTeacherTrainer(CySGANTrainer):
    """Supervision on the source, and agreement on the target with a teacher, the running average of the network itself.

    The student sees Y with the input defects, the teacher without. After Tarvainen and Valpola, NeurIPS 2017; for
    domains French et al., ICLR 2018. Terms: segmentation_x, identity_x, and consistency_y, the mean square difference
    of the maps, whose weight rises as exp(-5 (1 - t)²) over `ramp_iterations`.

    Args:
        teacher: the average of `generator_yx`, kept up by a handler (`train::ema`), which is also what is saved.
        consistency_weight: of consistency_y in the end.
        ramp_iterations: see above.
        **options: of `CySGANTrainer`.
    """

    def __init__(
        self,
        *,
        teacher: nn.Module,
        consistency_weight: float = 1.0,
        ramp_iterations: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.teacher = teacher
        self.consistency_weight, self.ramp_iterations = consistency_weight, ramp_iterations

    @property
    def stage_end(self) -> int:
        """Last iteration: there is but one stage."""
        return last_iteration(self)

    @property
    def stage_name(self) -> str:
        """What the network has learned from so far, for people."""
        return "mean teacher"

    def _stage(self) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        return self._consistent_step

    def _consistent_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        activate = self.representation.activate
        with torch.no_grad(), self._autocast():
            taught = activate(self.teacher(batch["recon_y"])[:, 1:])
        with self._autocast():
            terms = self._supervised_terms(batch)
            maps_y = activate(self._translate("generator_yx", batch["image_y"])[1])
            terms["consistency_y"] = F.mse_loss(maps_y.float(), taught.float())
        self._show(y=batch["image_y"], maps_y=maps_y)
        progress = min(1.0, self.state.iteration / max(1, self.ramp_iterations))
        self.update.weights = {**self.loss_weights, "consistency_y": self._weight_at(progress)}
        return self._step_alone(terms)

    def _weight_at(self, progress: float) -> float:
        return self.consistency_weight * math.exp(-5 * (1 - progress) ** 2)
