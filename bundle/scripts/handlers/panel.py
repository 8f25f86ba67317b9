"""Pictures of both cycles, for TensorBoard and as files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image
from scripts.handlers.tensorboard import TensorBoardLog
from scripts.report import cycle_panel
from scripts.volume_io.replacement import replacing
from torch import Tensor

__all__ = ["CyclePanels"]

_SHOWN = {"x": "X", "fake_y": "X → Y", "rec_x": "X → Y → X", "y": "Y", "fake_x": "Y → X", "rec_y": "Y → X → Y"}
"""What a picture is called."""


class CyclePanels:
    """Writes X to Y to X and Y to X to Y, with the maps, as one image each to `panels/` and to TensorBoard.

    The files are `log_dir`/panels/cycle_x_<iteration>.jpg and cycle_y_<iteration>.jpg, about 60 kB each, for
    `scripts.report.html`. There are never more than `keep` of a cycle: when there would be, every other one goes, so
    that those that stay are spread evenly over the training. A training that starts anew takes the place of an earlier.

    Args:
        log_dir: folder of `panels/`.
        representation: names the map channels and brings them to [0, 1]; by default the trainer's.
        interval: iterations between images.
        keep: files of each cycle, at least 2.
        log: of TensorBoard, which gets the images too; None for files alone.
    """

    def __init__(
        self,
        log_dir: str,
        representation: Any = None,
        interval: int = 500,
        keep: int = 24,
        log: TensorBoardLog | None = None,
    ) -> None:
        self.log_dir, self.representation, self.interval, self.keep = log_dir, representation, interval, keep
        self.log = log

    def attach(self, engine: Engine) -> None:
        """Write every `interval` iterations."""
        if self.representation is None:
            self.representation = getattr(engine, "representation", None)
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Write the panels of the current iteration."""
        if engine.state.rank != 0:
            return
        cycles = (("x", "fake_y", "rec_x", "maps_x"), ("y", "fake_x", "rec_y", "maps_y", "maps_rec_y"))
        for cycle in (names for names in cycles if names[0] in engine.state.panels):
            strip = cycle_panel([self._row(engine.state.panels, cycle)])
            if self.log:
                self.log.add_picture(f"cycle_{cycle[0]}", strip, engine.state.iteration)
            self._save(f"cycle_{cycle[0]}", strip, engine.state.iteration)

    def _row(self, panels: Mapping[str, Tensor], names: Sequence[str]) -> tuple[str, np.ndarray]:
        captions: list[str] = []
        volumes: list[Tensor] = []
        for name in (n for n in names if n in panels):
            maps = name.startswith("maps")
            shown = _SHOWN[name.removeprefix("maps_")]
            captions += [f"{c} of {shown}" for c in self.representation.channel_names] if maps else [shown]
            volumes.append(self.representation.to_unit(panels[name][None])[0] if maps else (panels[name] + 1) / 2)
        return " | ".join(captions), torch.cat(volumes).float().cpu().numpy()

    def _save(self, name: str, strip: np.ndarray, iteration: int) -> None:
        picture = Image.fromarray((strip.transpose(1, 2, 0) * 255).round().astype(np.uint8))
        content = io.BytesIO()  # given a file, Pillow takes no notice of a part that a full disk has no room for
        picture.save(content, "JPEG", quality=85)
        folder = Path(self.log_dir) / "panels"
        with replacing(folder / f"{name}_{iteration:07d}.jpg") as temporary:
            temporary.write_bytes(content.getvalue())
        self._thin_out(_files(folder, name)[:-1])

    def _thin_out(self, older: Sequence[Path]) -> None:
        """Keep every panel, or every second, every fourth and so on, and so at most `keep` with the newest."""
        kept, interval = list(older), self.interval
        while len(kept) >= max(2, self.keep):
            interval *= 2
            kept = [path for path in older if _iteration(path) % interval == 0]
        for path in {*older} - {*kept}:
            path.unlink()

    def _clear(self, engine: Engine) -> None:
        if engine.state.rank == 0:
            for path in _files(Path(self.log_dir) / "panels", "cycle_?"):
                if _iteration(path) > engine.state.iteration:
                    path.unlink()


def _files(folder: Path, name: str) -> list[Path]:
    """Panels of a cycle, the newest last."""
    return sorted(folder.glob(f"{name}_{'[0-9]' * 7}.jpg"))


def _iteration(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
