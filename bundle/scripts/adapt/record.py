"""What has been done in a folder, and how long it took: stages.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.volume_io.replacement import write_text

__all__ = ["Record"]


class Record:
    """Stages of one output folder. A stage that was killed keeps the time that it took until it was stopped.

    Attributes:
        path: stages.json.
        stages: for each stage `done`; and `seconds` and `peak_memory_mb`, earlier tries included.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stages.json"
        self.stages: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                self.stages = {name: _stage(found) for name, found in json.loads(self.path.read_text()).items()}
            except (OSError, ValueError, AttributeError, TypeError) as error:
                raise InputError(
                    f"{self.path} cannot be read: {error}. Remove it: finished stages are run again."
                ) from error

    def done(self, name: str) -> bool:
        """Return whether a stage is finished."""
        return bool(self.stages.get(name, {}).get("done"))

    def seconds(self, name: str) -> float:
        """Return how long a stage took, all tries together."""
        return float(self.stages[name]["seconds"]) if name in self.stages else 0.0

    def undo(self, names: list[str]) -> None:
        """Forget that stages are finished."""
        if any(self.done(name) for name in names):
            for name in names:
                self.stages.pop(name, None)
            self._write()

    def megabytes(self) -> float:
        """Return the most memory that was held in a stage."""
        return max((stage["peak_memory_mb"] for stage in self.stages.values()), default=0.0)

    @contextmanager
    def stage(self, name: str, memory: Callable[[], float] = lambda: 0.0) -> Iterator[None]:
        """Measure a stage; it is finished where no error ends it.

        Args:
            name: of the stage.
            memory: returns the most memory that was held so far, in MB.
        """
        begun, before = time.monotonic(), self.seconds(name)
        done = False
        try:
            yield
            done = True
        finally:
            peak = max(memory(), float(self.stages.get(name, {}).get("peak_memory_mb", 0.0)))
            seconds = round(before + time.monotonic() - begun, 1)
            self.stages[name] = {"done": done, "seconds": seconds, "peak_memory_mb": round(peak)}
            self._write()

    def _write(self) -> None:
        write_text(self.path, json.dumps(self.stages, indent=2) + "\n")


def _stage(found: Any) -> dict[str, Any]:
    """A stage as a file has it; the error of Python where that is something else."""
    numbers = {name: float(found.get(name, 0.0)) for name in ("seconds", "peak_memory_mb")}
    return {"done": found.get("done") is True, **numbers}
