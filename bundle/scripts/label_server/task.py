"""MONAI Label's inference with the plan of the weights that a request asks for, also of those written meanwhile."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.label_server.folder import check_model, merged_configs, write_config
from scripts.label_server.plan import weights_of
from scripts.plan.file import read_plan

__all__ = ["SERVED", "PlannedTask", "Served"]

logger = logging.getLogger(__name__)
SERVED = "CYSGAN_LABEL_SERVER_CONFIG"
"""Variable of the environment by which the command tells the server what it was given."""


@dataclass(frozen=True)
class Served:
    """What is merged into the configuration of any weights, after their plan.

    Attributes:
        overlays: files.
        keys: of the command line.
    """

    overlays: Sequence[str]
    keys: Mapping[str, Any]

    def to_text(self) -> str:
        """Return it as one line, for the environment of the server."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Served:
        """Return what `to_text` wrote."""
        return cls(**json.loads(text))

    def config(self, weights: Path) -> dict[str, Any]:
        """Return the configuration of inference for some weights.

        Raises:
            InputError: see `merged_configs`; or the weights do not fit.
        """
        read_plan(weights)  # whose errors MONAI Label's loading `scripts` twice would hide from what follows
        config = merged_configs(self.overlays, self.keys, weights)["inference"]
        check_model(config, weights)
        return config


class PlannedTask:
    """An inference task of MONAI Label, made again when a request asks for other weights than the last one.

    MONAI Label reads a configuration once and weights whenever their file changes. A training, or a client that chooses
    another file, would then meet the scale, the maps and the network of the weights before. A request that is being
    worked on keeps the task that it began with.

    Args:
        task: the first one.
        make: makes one from what is in `folder`.
        folder: of the model: configs/inference.json and models/.
        served: what was given to the command.
    """

    def __init__(self, task: Any, make: Callable[[], Any], folder: Path, served: Served) -> None:
        self._task, self._make, self._folder, self._served = task, make, folder, served
        self._lock = threading.Lock()
        self._state = _state(folder / "models" / "model.pt")

    def __getattr__(self, name: str) -> Any:
        """Return what the task of the newest weights has."""
        return getattr(self._task, name)

    def __call__(self, request: Mapping[str, Any], callbacks: Any = None) -> Any:
        """Work on a request.

        Raises:
            InputError: the weights do not go with what the server was started with.
        """
        return self._task_for(request)(request, callbacks)

    def _task_for(self, request: Mapping[str, Any]) -> Any:
        with self._lock:
            weights = weights_of(self._folder / "models", {**self._task.config(), **request})
            if (state := _state(weights)) != self._state:
                write_config(self._folder, "inference", self._served.config(weights))
                self._task, self._state = self._make(), state
                logger.info("%s: inference takes its plan from now on.", weights)
            return self._task


def _state(path: Path) -> tuple[str, int, int]:
    """What changes with a file's content; zeros where it is gone, which whoever reads it reports."""
    found = path.stat() if path.is_file() else None
    return (str(path), 0, 0) if found is None else (str(path), found.st_mtime_ns, found.st_size)
