"""What TensorBoard shows of a training."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from scripts.errors import unwritable
from scripts.trainer import last_iteration
from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoardLog"]


class TensorBoardLog:
    """Writes losses, learning rates and scores of validation to TensorBoard, and takes pictures of other handlers.

    Tags are loss/<term>, learning_rate/<optimiser>, validation/<score> and panel/<cycle>, the step is the iteration
    everywhere. TensorBoard shows one kind of data for a tag, and reads the event files of a folder one after the other.
    Hence the names, and one writer for all, which MONAI's and ignite's handlers would need as well. A resumed training
    continues the steps, and hides what an earlier one had written beyond its checkpoint. Rank 0 alone writes.

    Args:
        log_dir: folder of the event files.
        validators: engines that validate, whose `state.metrics` are the scores; None for one that is left out.
        interval: iterations between losses and rates, which the last iteration has as well; each time a GPU finishes
            what it does.
    """

    def __init__(self, log_dir: str, validators: Sequence[Any] = (), interval: int = 10) -> None:
        self.log_dir, self.interval = log_dir, interval
        self.validators = [validator for validator in validators if validator is not None]
        self.writer: SummaryWriter | None = None

    def attach(self, engine: Any) -> None:
        """Write while `engine`, a trainer, runs."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=self._is_due), self)
        engine.add_event_handler(Events.COMPLETED, self._close)
        getattr(engine, "at_end", []).append(self._close)  # after an error too
        for validator in self.validators:
            validator.add_event_handler(Events.COMPLETED, partial(self._write_scores, trainer=engine))

    def __call__(self, engine: Any) -> None:
        """Write the losses of this iteration and the rates of the next."""
        if self.writer is None:
            return
        output = engine.state.output
        values = torch.stack([torch.as_tensor(value, dtype=torch.float32) for value in output.values()]).tolist()
        self._write("loss", dict(zip(output, values, strict=True)), engine.state.iteration)
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in engine.optimizers.items()}
        self._write("learning_rate", rates, engine.state.iteration)

    def _is_due(self, engine: Any, iteration: int) -> bool:
        return iteration % self.interval == 0 or iteration == last_iteration(engine)

    def add_picture(self, name: str, picture: Any, iteration: int) -> None:
        """Write a picture (3, Y, X) in [0, 1]; nothing on other ranks."""
        if self.writer:
            with self._written():
                self.writer.add_image(f"panel/{name}", picture, iteration)

    def _write_scores(self, validator: Any, trainer: Any) -> None:
        self._write("validation", validator.state.metrics, trainer.state.iteration)

    def _write(self, kind: str, values: dict[str, float], iteration: int) -> None:
        if self.writer:
            with self._written():
                for name, value in values.items():
                    self.writer.add_scalar(f"{kind}/{name}", value, iteration)
                self.writer.flush()

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Name the folder in the error of a write; TensorBoard's thread hands its own to the next one."""
        try:
            yield
        except OSError as error:
            raise unwritable(Path(self.log_dir) / "events.out.tfevents", error) from error

    def _open(self, engine: Any) -> None:
        if engine.state.rank == 0:
            threading.excepthook = _without_writers
            with self._written():
                self.writer = SummaryWriter(self.log_dir, purge_step=engine.state.iteration + 1)

    def _close(self) -> None:
        writer, self.writer = self.writer, None
        if writer:
            with suppress(OSError):  # the error that ends the training, or the last few values
                writer.close()


def _without_writers(args: threading.ExceptHookArgs) -> None:
    """Say what ended a thread, as Python does, unless it is TensorBoard's: its error is raised at the next write."""
    if type(args.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(args)
