"""Stages 4 and 5: small instances removed, and the labels at lower resolutions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fastremap
import numpy as np

from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.grid import Box, Grid
from scripts.volume_io import ZarrVolume, downsample_labels

__all__ = ["CleanWork", "LevelWork"]


@dataclass(frozen=True)
class CleanWork:
    """Sets the dropped instances of a block to 0; once more does no harm.

    Attributes:
        grid: the blocks.
        labels: store to change.
        folder: with the blocks' instances ("labels") and those to drop ("dropped").
    """

    grid: Grid
    labels: ZarrVolume
    folder: WorkFolder

    def __call__(self, block: int) -> None:
        """Work on a block."""
        ids = self.folder.load("labels", block)["ids"]
        dropped = ids[np.isin(ids, _dropped(self.folder.path), assume_unique=True)]
        if len(dropped):
            core = self.grid.core(block)
            labels = self.labels[core]
            self.labels[core] = fastremap.mask(labels, dropped.astype(labels.dtype))
        self.folder.save("clean", block, {"dropped": np.array(len(dropped))})


@lru_cache(maxsize=1)
def _dropped(folder: Path) -> np.ndarray:
    return WorkFolder(folder).load("dropped", 0)["ids"]


@dataclass(frozen=True)
class LevelWork:
    """Fills a block of a level from the next finer one.

    Attributes:
        grid: blocks of the level.
        finer: to read.
        labels: to write.
        factors: (z, y, x) between the two.
        folder: for the result, which says no more than that it is done.
        stage: its name.
    """

    grid: Grid
    finer: ZarrVolume
    labels: ZarrVolume
    factors: tuple[int, int, int]
    folder: WorkFolder
    stage: str

    def __call__(self, block: int) -> None:
        """Work on a block, chunk by chunk: for the memory, as each comes from up to eight times as many voxels."""
        z, y, x = self.labels.chunks
        chunks = Grid.of(self.grid.shape, (z, y, x))
        for chunk in chunks.touching(self.grid.core(block)):
            box = chunks.core(chunk)
            self.labels[box] = downsample_labels(self.finer[self._origin(box)], self.factors)
        self.folder.save(self.stage, block, {})

    def _origin(self, core: Box) -> Box:
        sides = zip(core, self.factors, self.finer.shape, strict=True)
        z, y, x = (slice(side.start * factor, min(side.stop * factor, size)) for side, factor, size in sides)
        return z, y, x
