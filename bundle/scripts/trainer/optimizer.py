"""AdamW and its schedule as the method uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.optimizers import WarmupCosineSchedule
from scripts.errors import InputError
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

__all__ = ["Schedule", "adamw", "adamw_for_each", "gradient_norm", "has_gradient", "warm_up_cosine"]

_OPTIONS = ("learning_rate", "betas", "weight_decay")


def adamw(
    network: nn.Module, learning_rate: float = 2e-3, betas: Sequence[float] = (0.9, 0.999), weight_decay: float = 1e-4
) -> AdamW:
    """Make an AdamW optimiser whose weight decay spares norms and biases, that is every parameter of one dimension.

    Args:
        network: what to optimise; one optimiser serves one network.
        learning_rate: before any schedule.
        betas: of AdamW.
        weight_decay: on weights of two dimensions or more.
    """
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    beta_1, beta_2 = betas
    # One kernel for all parameters; on a GPU it also reads a loss scaler's verdict without waiting for it.
    return AdamW([group for group in groups if group["params"]], lr=learning_rate, betas=(beta_1, beta_2), fused=True)


def adamw_for_each(networks: Mapping[str, nn.Module], **options: Mapping[str, Any] | Optimizer) -> dict[str, Optimizer]:
    """Make an optimiser for each network by `adamw`.

    Args:
        networks: by name. A wrapper for several processes has the parameters of what it wraps.
        **options: of `adamw`, by the network's name; `warm_up` is a second optimiser of generator_yx. An optimiser in
            their place is taken as it is.

    Raises:
        InputError: there is no such option.
    """
    made: dict[str, Optimizer] = {}
    for name, given in options.items():
        if not isinstance(given, Optimizer):
            if unknown := [option for option in given if option not in _OPTIONS]:
                raise InputError(f"optimizers::{name}: found {unknown[0]}, expected some of {', '.join(_OPTIONS)}.")
            given = adamw(networks["generator_yx" if name == "warm_up" else name], **given)
        made[name] = given
    return made


class Schedule(WarmupCosineSchedule):
    """MONAI's warm-up and cosine, which stays at the cosine's end, and of which only the position is saved.

    A training that is resumed with another length or rate follows the new one from where it is.
    """

    def lr_lambda(self, step: int) -> float:
        """Share of the rate at a step; MONAI's rises again after the end."""
        return float(super().lr_lambda(min(step, self.t_total)))

    def state_dict(self) -> dict[str, Any]:
        """Return the position alone."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a saved position; lengths and rates that older checkpoints hold too are left where they are."""
        self.last_epoch = int(state_dict["last_epoch"])
        self._step_count = self.last_epoch + 1
        self._last_lr = self.get_lr()
        for group, base, rate in zip(self.optimizer.param_groups, self.base_lrs, self._last_lr, strict=True):
            group["initial_lr"], group["lr"] = base, rate


def warm_up_cosine(
    optimizers: Mapping[str, Optimizer],
    iterations: int,
    warm_up: int = 1000,
    start: float = 0.001,
    own_iterations: Mapping[str, int] | None = None,
) -> dict[str, Schedule]:
    """Make one schedule for each optimiser: linear from `start` over `warm_up` iterations, then a cosine to 0.

    Args:
        optimizers: by name.
        iterations: at which the rate reaches 0.
        warm_up: iterations of the linear part, at most a tenth of all.
        start: share of the rate in the first iteration.
        own_iterations: length of the schedule for optimisers that run another number of iterations.
    """
    lengths = {name: max(1, (own_iterations or {}).get(name, iterations)) for name in optimizers}
    return {
        name: Schedule(optimizer, min(warm_up, -(-lengths[name] // 10)), lengths[name], warmup_multiplier=start)
        for name, optimizer in optimizers.items()
    }


def has_gradient(optimizer: Optimizer) -> bool:
    """Whether any parameter of an optimiser has a gradient."""
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Norm of the gradient of all parameters of an optimiser, a scalar; 0 where there is none."""
    return nn.utils.get_total_norm(
        [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    )
