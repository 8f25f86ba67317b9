"""Stages 4 to 6: whose size is in doubt, the instances that are kept, and the labels at lower resolutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fastremap
import numpy as np
from scipy.ndimage import binary_dilation
from scripts.blockwise.folder import WorkFolder
from scripts.volume_io import ZarrVolume, downsample_labels
from scripts.volume_io.grid import Box, Grid

__all__ = ["CleanWork", "DoubtWork", "LevelWork", "voxels_in_doubt"]


@dataclass(frozen=True)
class DoubtWork:
    """Finds the instances that voxels of unproven labels touch: each of these voxels may belong to one of them.

    An instance is connected. So one that no such voxel touches holds none of them, and its size is proven.

    Memory: 8 to 16 bytes per voxel of a block that has such voxels, or is next to one.

    Attributes:
        grid: the blocks.
        labels: store to read.
        doubt: store of the unproven voxels; see `scripts.blockwise.label.LabelWork`.
        folder: has the blocks' results ("labels"), and gets `ids`.
    """

    grid: Grid
    labels: ZarrVolume
    doubt: ZarrVolume
    folder: WorkFolder

    def __call__(self, block: int) -> None:
        """Work on a block."""
        ids, window = np.zeros(0, np.int64), self.grid.window(block, (1, 1, 1))
        if any(int(self.folder.load("labels", other)["uncertain"]) for other in self.grid.touching(window)):
            uncertain = self.doubt[window] > 0
            beside = binary_dilation(uncertain, np.ones((3, 3, 3), bool)) & ~uncertain
            ids = fastremap.unique(self.labels[window][beside]).astype(np.int64)
        self.folder.save("doubt", block, {"ids": ids[ids > 0]})


def voxels_in_doubt(
    instances: Mapping[str, np.ndarray], touched: Iterable[np.ndarray], uncertain: int | np.ndarray, least: int
) -> int:
    """Return how many voxels of proven labels belong to instances of which nobody knows whether they are too small.

    Args:
        instances: what `scripts.metrics.measure.join` returns.
        touched: ids that `DoubtWork` found in each block.
        uncertain: voxels of the volume whose labels are not proven.
        least: voxels of an instance that is kept.
    """
    proven = instances["voxels"] - instances["guessed"]
    open_ = np.isin(instances["ids"], np.concatenate([*touched])) | (instances["guessed"] > 0)
    return int(proven[open_ & (proven < least) & (proven + uncertain >= least)].sum())


@dataclass(frozen=True)
class CleanWork:
    """Writes the instances of a block that are kept, numbered from 1 in the order of their ids; once more does no harm.

    Attributes:
        grid: the blocks.
        labels: store to read.
        result: store to write.
        folder: with the blocks' instances ("labels") and the ids of those to keep ("kept").
    """

    grid: Grid
    labels: ZarrVolume
    result: ZarrVolume
    folder: WorkFolder

    def __call__(self, block: int) -> None:
        """Work on a block."""
        ids, kept = self.folder.load("labels", block)["ids"], _kept(self.folder.path)
        new = np.where(np.isin(ids, kept, assume_unique=True), np.searchsorted(kept, ids) + 1, 0)
        core, numbers = self.grid.core(block), dict(zip(ids.tolist(), new.tolist(), strict=True))
        self.result[core] = fastremap.remap(self.labels[core], {0: 0, **numbers}, in_place=True)
        self.folder.save("clean", block, {"dropped": np.array(np.count_nonzero(new == 0))})


@lru_cache(maxsize=1)
def _kept(folder: Path) -> np.ndarray:
    return WorkFolder(folder).load("kept", 0)["ids"]


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
