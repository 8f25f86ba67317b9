"""A training that is asked to stop, by Ctrl-C or by a batch system, and can go on later."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from scripts.errors import UNFINISHED
from scripts.trainer import last_iteration

__all__ = ["SignalStop"]

logger = logging.getLogger(__name__)


class SignalStop:
    """Ends a training after its iteration when SIGTERM or Ctrl-C (SIGINT) comes.

    The engine then completes: handlers write their last files, the checkpoint among them, and the trainer exits with
    status 75. A second Ctrl-C stops at once; files are whole even then. Attach it behind all others. Signals come to
    the main thread alone; elsewhere (in a server) they are left as they are.

    Of several processes all stop at the same iteration, as soon as one of them was asked.

    Args:
        interval: iterations after which several processes ask each other; each time a GPU finishes what it does. By
            default 1 on a CPU and 10, as often as losses are looked at, on a GPU.
    """

    def __init__(self, interval: int | None = None) -> None:
        self.interval, self.asked = interval, False
        self.before: dict[int, Any] = {}

    def attach(self, engine: Any) -> None:
        """Listen from the start of a run to its end."""
        device = torch.device(getattr(engine.state, "device", None) or "cpu")
        self.interval = self.interval or (1 if device.type == "cpu" else 10)
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._stop)
        engine.add_event_handler(Events.COMPLETED, self._report)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)
        # another handler of errors may come first and raise
        getattr(engine, "at_end", []).append(self._restore)

    def _listen(self, engine: Any) -> None:
        self.asked = engine.stopped = False
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.asked:
            name = signal.Signals(number).name
            logger.warning("%s: this iteration is finished and a checkpoint written; Ctrl-C now stops at once", name)
        self.asked = True

    def _stop(self, engine: Any) -> None:
        if self._any_asked(engine) and not engine.stopped:
            engine.look_at_all()  # what is no number is not to reach the disk
            engine.stopped = True
            engine.terminate()

    def _any_asked(self, engine: Any) -> bool:
        if idist.get_world_size() == 1:
            return self.asked
        if engine.state.iteration % (self.interval or 1):
            return False
        # torch's own, on the trainer's device: ignite's wants to have begun the processes itself
        asked = torch.tensor(float(self.asked), device=engine.state.device)
        torch.distributed.all_reduce(asked)
        return bool(asked > 0)

    def _report(self, engine: Any) -> None:
        if not engine.stopped:
            self._restore()
        elif engine.state.rank == 0:
            logger.warning(
                "stopped after iteration %d of %d, a checkpoint is written, exit status %d; the same command with "
                "--resume true (or auto) goes on.",
                engine.state.iteration,
                last_iteration(engine),
                UNFINISHED,
            )

    def _fail(self, engine: Any, error: BaseException) -> None:
        self._restore()
        raise error

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
