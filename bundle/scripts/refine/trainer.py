"""The step of refinement: labels of X and cleaned labels of Y at once, by the same network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.trainer import CySGANTrainer, last_iteration
from torch import Tensor

__all__ = ["RefineTrainer"]


class RefineTrainer(CySGANTrainer):
    """Trains `generator_yx` on labelled X and on Y with the labels that `scripts.refine.Rounds` makes.

    A batch has `target_y` (B, M, Z, Y, X) and `known_y` (B, 1, Z, Y, X) as well, see `EncodeSureTargetsd`. Terms:
    segmentation_x, identity_x and segmentation_y. The other networks stay as they are.

    Args:
        **options: of `CySGANTrainer`; the optimiser and the schedule `warm_up` are used.
    """

    @property
    def stage_end(self) -> int:
        """Last iteration: rounds are epochs of one stage."""
        return last_iteration(self)

    @property
    def stage_name(self) -> str:
        """What the network has learned from so far, for people."""
        return "refinement"

    def start_round(self) -> None:
        """Forget what the optimiser has gathered, and begin its schedule again."""
        self.optimizers["warm_up"].state.clear()
        self.schedules["warm_up"].load_state_dict({"last_epoch": 0})

    def _stage(self) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        return self._refining_step

    def _stage_completed(self) -> None:
        pass

    def _refining_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with self._autocast():
            terms: dict[str, Any] = self._supervised_terms(batch)
            logits = self._translate("generator_yx", batch["image_y"])[1]
            terms["segmentation_y"] = self.representation.loss(logits, batch["target_y"], batch["known_y"])
        self._show(y=batch["image_y"], maps_y=self.representation.activate(logits))
        return self._step_alone(terms)
