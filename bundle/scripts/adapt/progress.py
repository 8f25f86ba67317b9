"""How long the whole will still take, from the rates seen so far."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

from scripts.adapt.request import Request
from scripts.judge.consistency import OVERLAP
from scripts.judge.perturbation import FEW
from scripts.volume_io import open_volume

__all__ = ["TimeLeft", "expected_passes", "span"]

_SHORT = 10.0
"""Seconds of a stage without the network: Python and its libraries start, a volume is read."""
_VOXELS = 2e6
"""Voxels of Y that decoding, table and page together get through in a second, roughly."""
_WARM_UP, _CYCLE = 3.0, 13.0
"""Passes of a generator that an iteration takes for each patch: forward and backward count as three, discriminators as
one. A guess for the time until CySGAN has shown its own rate."""


def expected_passes(request: Request) -> dict[str, float]:
    """Return the network's work in each stage, in passes over a patch; 0 where a configuration does not say."""
    values = request.values
    patch, window, scale = (_numbers(values[name]) for name in ("patch_size", "window", "scale_y"))
    batch = values["batch_size"] if isinstance(values["batch_size"], int) else 1
    warm_up = values["warm_up_iterations"]
    seen = sum(prod(open_volume(image).shape) for image in request.images) * prod(scale)
    windows = 8 * seen / prod(patch) if patch and window else 0.0  # half overlap along three axes
    again = len(FEW) * (1 - OVERLAP) ** -3 * seen / prod(patch) if patch and window else 0.0
    return {
        "source only": _WARM_UP * batch * warm_up,
        "CySGAN": _CYCLE * batch * (values["iterations"] - warm_up),
        "refinement": 2 * _WARM_UP * batch * values["rounds"] * values["round_iterations"],
        "instances": windows,
        "confidence": again,
    }


class TimeLeft:
    """Says now and then how long the whole will take, while stages run.

    Nothing is said before the training has shown a rate: a guess would be of another machine.

    Args:
        request: what is done.
        stages: those that are still to do, in order.
        say: gets a line.
    """

    def __init__(self, request: Request, stages: Sequence[str], say: Callable[[str], None] | None = None) -> None:
        self.request, self.left, self.say = request, list(stages), say or _say
        self.passes = expected_passes(request)
        self.voxels = sum(prod(open_volume(image).shape) for image in request.images)
        self.rate: float | None = None  # seconds a pass
        self.next_time = 0.0

    def watch(self, stage: str) -> threading.Event:
        """Begin to watch a stage, in a thread; setting the event ends that."""
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(stage, ended), daemon=True).start()
        return ended

    def finished(self, stage: str) -> None:
        """Take a stage off what is left."""
        self.left = [name for name in self.left if name != stage]

    def seconds(self, stage: str = "", done: float = 0.0) -> float | None:
        """Return how long all that is left will take, None where no rate is known.

        Args:
            stage: that runs.
            done: passes of it that are done.
        """
        if self.rate is None:
            return None
        network = sum(self.passes.get(name, 0.0) for name in self.left) - min(done, self.passes.get(stage, 0.0))
        others = sum(_SHORT for name in self.left if name != stage) + self.voxels / _VOXELS
        return network * self.rate + others

    def _watch(self, stage: str, ended: threading.Event) -> None:
        seen: list[tuple[float, int]] = []
        while not ended.wait(2.0):
            iteration = _iteration(self.request.out / "train" / "losses.csv")
            if stage not in ("source only", "CySGAN") or iteration is None:
                continue
            if not seen or iteration > seen[-1][1]:
                seen = [*seen[:1], (time.monotonic(), iteration)]
            if len(seen) > 1:
                self._look(stage, seen)

    def _look(self, stage: str, seen: Sequence[tuple[float, int]]) -> None:
        (begun, first), (now, last) = seen
        before = self.request.values["warm_up_iterations"] if stage == "CySGAN" else 0
        whole = (
            self.request.values["iterations"] if stage == "CySGAN" else self.request.values["warm_up_iterations"]
        ) - before
        each = self.passes[stage] / max(1, whole)
        if last <= max(first, before):
            return
        self.rate = (now - begun) / (each * (last - max(first, before)))
        left = self.seconds(stage, each * (last - before)) or 0.0
        if now >= self.next_time:
            self.next_time = now + max(60.0, left / 20)
            rough = ", roughly: CySGAN's own rate is not seen yet" if stage == "source only" else ""
            self.say(f"   {span(left)} left for the whole{rough}")


def span(seconds: float) -> str:
    """Return a time as people say it.

    >>> span(20), span(130), span(7300)
    ('less than a minute', 'about 2 min', 'about 2 h 2 min')
    """
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"about {minutes} min"


def _say(line: str) -> None:
    """Print a line above the bar of the command that runs on this terminal."""
    print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def _iteration(path: Path) -> int | None:
    """The last iteration in a training's table of losses; None where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return int(float(lines[-1].partition(",")[0]))
    except (OSError, ValueError, IndexError):
        return None


def _numbers(value: object) -> list[float]:
    return [float(side) for side in value] if isinstance(value, list) else [1.0]
