"""What has been done in a folder, and how long it took: stages.json."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
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
        stages: for each stage `done` and `seconds`, its own and those of earlier tries.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stages.json"
        self.stages: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                self.stages = {str(name): dict(stage) for name, stage in json.loads(self.path.read_text()).items()}
            except (OSError, ValueError, AttributeError, TypeError) as error:
                raise InputError(
                    f"{self.path} cannot be read: {error}. Remove it: finished stages are run again."
                ) from error

    def done(self, name: str) -> bool:
        """Return whether a stage is finished."""
        return bool(self.stages.get(name, {}).get("done"))

    def seconds(self, name: str) -> float:
        """Return how long a stage took, all tries together."""
        return float(self.stages.get(name, {}).get("seconds", 0.0))

    def undo(self, names: list[str]) -> None:
        """Forget that stages are finished."""
        if any(self.done(name) for name in names):
            for name in names:
                self.stages.pop(name, None)
            self._write()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage; it is finished where no error ends it."""
        begun, before = time.monotonic(), self.seconds(name)
        done = False
        try:
            yield
            done = True
        finally:
            self.stages[name] = {"done": done, "seconds": round(before + time.monotonic() - begun, 1)}
            self._write()

    def _write(self) -> None:
        write_text(self.path, json.dumps(self.stages, indent=2) + "\n")
