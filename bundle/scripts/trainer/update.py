"""Steps of optimisers on weighted terms, and the watch over terms and gradients that are no numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.utils.enums import CommonKeys
from scripts.trainer.gradient_cut import GradientCut
from scripts.trainer.optimizer import gradient_norm, has_gradient
from scripts.trainer.term import check_finite
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["UNPUBLISHED", "FiniteWatch", "Update"]

UNPUBLISHED = ("identity", "correlation", "segmentation_same_x", "share_y")
"""Terms that the published method lacks."""


class FiniteWatch:
    """Stops training at a term, or a network's gradient, that is NaN or infinite.

    To look at a value makes a GPU finish all that it was asked for. There the values of `interval` iterations are
    looked at together, so that the networks may have taken some steps on it; what is on disk has not, if `interval`
    divides that of the checkpoints. On a CPU every value is looked at before the step.

    Memory: the batches that are not looked at yet, as they come from the loader: `interval` of them at most.

    Args:
        interval: iterations between looks at a GPU.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self.unseen: list[tuple[int, list[str], Tensor]] = []
        self.batches: dict[int, Mapping[str, Any]] = {}

    def begin(self, batch: Mapping[str, Any], iteration: int) -> None:
        """Keep the batch of an iteration for as long as its values are not all looked at."""
        if not self.unseen:
            self.batches.clear()
        self.batches[iteration] = batch

    def __call__(self, terms: Mapping[str, Tensor], iteration: int, device: torch.device) -> None:
        """Look at `terms`, or keep them to be looked at.

        Raises:
            NonFiniteLossError: as `scripts.trainer.term.check_finite`.
        """
        if device.type == "cpu":
            check_finite(terms, iteration)
        else:
            self.keep(terms, iteration)

    def keep(self, terms: Mapping[str, Tensor], iteration: int) -> None:
        """Keep values until `look`."""
        self.unseen.append((iteration, list(terms), torch.stack([value.detach().float() for value in terms.values()])))

    def look(self, iteration: int, last: bool = False) -> None:
        """Look at what was kept, when it is time.

        Raises:
            NonFiniteLossError: naming the first iteration with such a value.
        """
        if not self.unseen or (iteration % self.interval and not last):
            return
        values = iter(torch.cat([values for _, _, values in self.unseen]).cpu())
        for then, names, _ in self.unseen:
            check_finite({name: next(values) for name in names}, then)
        self.unseen.clear()


class Update:
    """One step of chosen optimisers, and of their schedules, on the weighted sum of terms.

    Args:
        optimizers: by name.
        schedules: the same names.
        weights: of the terms; one left out weighs 1, but those that the published method lacks weigh 0.
        max_gradient_norm: limit on the norm of each limited network's gradient, None for none.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        schedules: Mapping[str, LRScheduler],
        weights: Mapping[str, float],
        max_gradient_norm: float | None,
    ) -> None:
        self.optimizers, self.schedules, self.weights = optimizers, schedules, weights
        self.max_gradient_norm = max_gradient_norm

    def weight(self, name: str) -> float:
        """Weight of a term."""
        return self.weights.get(name, 0.0 if name in UNPUBLISHED else 1.0)

    def __call__(
        self,
        terms: dict[str, Tensor],
        names: Sequence[str],
        limited: Sequence[nn.Module],
        scaler: torch.amp.GradScaler,
        cut: GradientCut | None = None,
        inspect: Callable[[dict[str, Tensor]], None] | None = None,
    ) -> dict[str, Tensor]:
        """Step.

        Args:
            terms: by name.
            names: of the optimisers.
            limited: networks whose gradient is limited.
            scaler: of the loss, against underflow in float16; updated by the caller.
            cut: where gradients of the cycle's terms cross to the networks before it.
            inspect: is given the norm of every optimiser's gradient, `gradient_<name>`, before the step. Not with a
                scaler at work: gradients that overflow are its business.

        Returns:
            The terms, and their weighted sum as `loss`.
        """
        loss = self._weighted(terms)
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        roots, gradients = [scaler.scale(loss)], list[Tensor | None]([None])
        if cut and (cycle := {name: value for name, value in terms.items() if name.startswith("cycle")}):
            roots += cut.images
            gradients += cut.gradients(scaler.scale(self._weighted(cycle)))
        torch.autograd.backward(roots, gradients)
        for name in names:
            scaler.unscale_(self.optimizers[name])
        if inspect and not scaler.is_enabled():
            inspect({f"gradient_{name}": gradient_norm(self.optimizers[name]) for name in names})
        if self.max_gradient_norm:
            for network in limited:
                nn.utils.clip_grad_norm_(network.parameters(), self.max_gradient_norm)
        for name in names:
            # A scaler refuses to step a network that no term reaches, as in some ablations.
            if not scaler.is_enabled() or has_gradient(self.optimizers[name]):
                scaler.step(self.optimizers[name])
            self.schedules[name].step()
        return {CommonKeys.LOSS: loss, **terms}

    def _weighted(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.weight(name) * value for name, value in terms.items()]).sum()
