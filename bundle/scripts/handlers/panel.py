"""Pictures of both cycles, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from scripts.report import cycle_panel

__all__ = ["CyclePanels"]


class CyclePanels:
    """Writes X to Y to X and Y to X to Y, with the maps, as one image each to TensorBoard.

    Args:
        log_dir: TensorBoard folder.
        representation: names the map channels and brings them to [0, 1].
        interval: iterations between images.
    """

    def __init__(self, log_dir: str, representation: Any, interval: int = 500) -> None:
        self.log_dir, self.representation, self.interval = log_dir, representation, interval

    def attach(self, engine: Engine) -> None:
        """Write every `interval` iterations."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def __call__(self, engine: Engine) -> None:
        """Write the panels of the current iteration."""
        if self.writer is None:
            return
        cycles = (("x", "fake_y", "rec_x", "maps_x"), ("y", "fake_x", "rec_y", "maps_y", "maps_rec_y"))
        for cycle in (names for names in cycles if names[0] in engine.state.panels):
            strip = cycle_panel([self._row(engine.state.panels, cycle)])
            self.writer.add_image(f"cycle_{cycle[0]}", strip, engine.state.iteration)

    def _row(self, panels: Mapping[str, Tensor], names: Sequence[str]) -> tuple[str, np.ndarray]:
        captions: list[str] = []
        volumes: list[Tensor] = []
        for name in (n for n in names if n in panels):
            maps = name.startswith("maps")
            captions += [f"{name[5:]} {c}" for c in self.representation.channel_names] if maps else [name]
            volumes.append(self.representation.to_unit(panels[name][None])[0] if maps else (panels[name] + 1) / 2)
        return " | ".join(captions), torch.cat(volumes).float().cpu().numpy()

    def _open(self, engine: Engine) -> None:
        self.writer = SummaryWriter(self.log_dir) if engine.state.rank == 0 else None

    def _close(self, engine: Engine) -> None:
        if self.writer:
            self.writer.close()
