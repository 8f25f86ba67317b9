"""What every training here shares: networks with an optimiser each, one step on labelled X, terms by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ignite.distributed as idist
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from scripts.allocator import reused_memory
from scripts.command.flag import flag
from scripts.command.worker import SHARED_MEMORY_FULL, shared_memory_is_full
from scripts.errors import UNFINISHED, InputError
from scripts.thread import short_waits_beside_others
from scripts.trainer.gradient_cut import GradientCut
from scripts.trainer.length import last_iteration
from scripts.trainer.plain_error import PlainErrors
from scripts.trainer.term import NonFiniteLossError
from scripts.trainer.update import FiniteWatch, Update
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["NON_FINITE", "STAGE_STARTED", "SourceTrainer"]

NON_FINITE = "non_finite"
"""Event of the trainer: a value is no number, and training is about to stop; `state.offending` says where."""

STAGE_STARTED = "stage_started"
"""Event of the trainer: the stage behind the first one begins with this iteration, whose step is still to come."""


class SourceTrainer(Trainer):
    """Trains `generator_yx` on labelled X alone: its maps by the labels, its image to be X itself.

    What a batch holds and the arguments are described at `scripts.trainer.CySGANTrainer`; other trainings replace
    `_stage`. `engine.state.output` names every term; `engine.state.panels` holds the step's volumes for image handlers.

    Args:
        device: where the networks are.
        max_epochs: epochs of `epoch_length` iterations.
        data_loader: yields the batches.
        networks: by name, `generator_yx` among them.
        optimizers: by name, `warm_up` for the step on X among them where there is one.
        schedules: of the optimisers' rates, the same names.
        representation: encodes, activates and scores the maps (`scripts.representation.Representation`).
        loss_weights: weight of each term by name; a term left out weighs 1, a term weighing 0 is not logged.
        max_gradient_norm: limit on the norm of each generator's gradient, None for none (published).
        check_interval: iterations between looks for values that are no numbers, on a GPU (see `FiniteWatch`).
        epoch_length: iterations of an epoch, default one pass over `data_loader`.
        max_iterations: iterations in all, where the last epoch is to be cut short; None for whole epochs.
        inferer: how a generator is applied to a patch; kept for MONAI's property check.
        plan: how Y is seen (`scripts.plan.Plan`), which savers put into files of weights; None for none.
        amp: mixed precision: float16 with loss scaling on CUDA, bfloat16 on CPU.
        compile: let torch compile the networks when the training starts, which takes the first iterations minutes.
        handlers: ignite handlers.
        **options: passed to `monai.engines.Trainer`.

    Raises:
        NonFiniteLossError: as soon as a term or a network's gradient is NaN or infinite, on a CPU before any step on
            it; with a loss scaler at work, which leaves steps out by itself, of terms alone. `state.offending` holds
            the iteration, the message and the batch, and the event `non_finite` is fired before.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        data_loader: Iterable,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        schedules: Mapping[str, LRScheduler],
        representation: Any,
        loss_weights: Mapping[str, float] | None = None,
        max_gradient_norm: float | None = None,
        check_interval: int = 10,
        epoch_length: int | None = None,
        max_iterations: int | None = None,
        inferer: Inferer | None = None,
        plan: Any = None,
        amp: bool | str = False,
        compile: bool | str = False,
        handlers: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        self.networks = dict(networks)
        self.network = self.networks["generator_yx"]
        self.optimizers, self.schedules = dict(optimizers), dict(schedules)
        self.optimizer = self.optimizers["generator_yx"]
        self.representation = representation
        self.loss_weights = dict(loss_weights or {})
        self.update = Update(self.optimizers, self.schedules, self.loss_weights, max_gradient_norm)
        self.watch = FiniteWatch(check_interval)
        self.compile, amp = flag(compile, "compile"), flag(amp, "amp")
        super().__init__(device, max_epochs, data_loader, epoch_length=epoch_length, amp=amp, **options)
        self.inferer, self.plan = inferer or SimpleInferer(), plan
        self.loss_scaler = torch.amp.GradScaler("cuda", enabled=amp and self.state.device.type == "cuda")
        self.state.panels, self.state.max_iterations = {}, max_iterations
        self.complete = self.stopped = False  # handlers say so: a checkpoint of the end; a signal
        self.at_end: list[Callable[[], None]] = []  # called when a run ends, by an error too
        if (end := getattr(data_loader, "end", None)) is not None:
            self.at_end.append(end)
        self.add_event_handler(Events.STARTED, self._place_data)
        self.register_events(NON_FINITE, STAGE_STARTED)
        # Only now: handlers may look at the engine's parts when they attach.
        self._register_handlers([PlainErrors(), *(handlers or ())])
        self.add_event_handler(Events.ITERATION_COMPLETED, self._end_within_epoch)  # behind all others

    def run(self) -> None:
        """Train; memory that is freed meanwhile is kept for reuse. What is complete already is left as it is.

        Raises:
            InputError: a file cannot be written (no space left, no permission).
            SystemExit: with status 75 when a signal ended it early (`scripts.handlers.SignalStop`).
        """
        if self.complete:
            return
        if self.compile:
            for network in self.networks.values():
                network.compile()
        try:
            with reused_memory(), short_waits_beside_others():
                super().run()
        except OSError as error:
            if shared_memory_is_full(error):
                raise InputError(SHARED_MEMORY_FULL) from error
            raise InputError(
                f"training stopped in iteration {self.state.iteration}, a file cannot be written or read: {error}. "
                "The checkpoints are whole: make room or give permission, then go on with --resume true."
            ) from error
        finally:
            for call in self.at_end:
                call()
        if self.stopped:
            idist.barrier()  # torchrun ends the others as soon as one has ended; rank 0 may still write
            raise SystemExit(UNFINISHED)

    def _place_data(self) -> None:
        """Let a sampler that counts through the training begin where the training is."""
        if (go_to := getattr(getattr(self.data_loader, "sampler", None), "go_to", None)) is not None:
            go_to(self.state.iteration)

    def _end_within_epoch(self) -> None:
        """End a training whose last epoch is not a whole one, with everything that follows an epoch."""
        state = self.state
        if state.iteration == last_iteration(self) and state.iteration % state.epoch_length and not self.stopped:
            self.fire_event(Events.EPOCH_COMPLETED)
            self.terminate()

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Tensor]:
        batch = {k: v.to(self.state.device, non_blocking=True) for k, v in batchdata.items() if isinstance(v, Tensor)}
        self.watch.begin(batchdata, self.state.iteration)
        if self.state.iteration == self.stage_end + 1:
            self._stage_started()
            self.fire_event(STAGE_STARTED)
        with self._telling():
            terms = self._stage()(batch)
            self.watch.look(self.state.iteration, last=self._ends())
        self.state.output = {name: value.detach() for name, value in terms.items()}
        self._stage_completed()
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def look_at_all(self) -> None:
        """Look at all values that wait for it, before they reach the disk.

        Raises:
            NonFiniteLossError: one is no number.
        """
        with self._telling():
            self.watch.look(self.state.iteration, last=True)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Fire `non_finite` before a value that is no number ends the training."""
        try:
            yield
        except NonFiniteLossError as error:
            batch = self.watch.batches.get(error.iteration, {})
            self.state.offending = {"iteration": error.iteration, "message": str(error), "batch": batch}
            self.fire_event(NON_FINITE)
            raise

    def _stage(self) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """The step of this iteration."""
        return self._supervised_step

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps beside networks, optimisers and schedules, by name."""
        return {}

    @property
    def stage_end(self) -> int:
        """Last iteration of the first stage."""
        return last_iteration(self)

    def _ends(self) -> bool:
        """Whether a stage ends with this iteration."""
        return self.state.iteration in (self.stage_end, last_iteration(self))

    def _stage_completed(self) -> None:
        """What is to be done at the end of the first stage, in its last iteration."""

    def _stage_started(self) -> None:
        """What is to be done before the first iteration of the second stage."""

    def _supervised_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with self._autocast():
            terms = self._supervised_terms(batch)
        return self._step_alone(terms)

    def _supervised_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, logits = self._translate("generator_yx", batch["image_x"])
        self._show(x=batch["image_x"], rec_x=image, maps_x=self.representation.activate(logits))
        return {
            "segmentation_x": self.representation.loss(logits, batch["target_x"]),
            "identity_x": F.l1_loss(image, batch["recon_x"]),
        }

    def _step_alone(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        losses = self._optimise(terms, ["warm_up"], [self.network])
        self.loss_scaler.update()
        return losses

    def _translate(self, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
        output = self.networks[name](image)
        return torch.tanh(output[:, :1]), output[:, 1:]

    def _optimise(
        self, terms: dict[str, Tensor], names: list[str], limited: list[nn.Module], cut: GradientCut | None = None
    ) -> dict[str, Tensor]:
        def look(values: dict[str, Tensor]) -> None:
            self.watch(values, self.state.iteration, self.state.device)

        look(terms)
        return self.update(terms, names, limited, self.loss_scaler, cut, look)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs)

    def _show(self, **volumes: Tensor) -> None:
        self.state.panels.update({name: volume.detach()[0] for name, volume in volumes.items()})
