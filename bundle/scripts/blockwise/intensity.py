"""Percentiles of a volume that is looked at block by block."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.run import Run
from scripts.errors import InputError
from scripts.transforms.percentile import check_percentiles, count_values, grey_ends
from scripts.volume_io import ChunkedVolume
from scripts.volume_io.grid import Box, Grid

__all__ = ["STAGE", "SurveyWork", "check_finite", "intensity_range"]

logger = logging.getLogger(__name__)

STAGE = "survey"


@dataclass(frozen=True)
class SurveyWork:
    """Looks at the grey values of a block.

    Memory: the block as stored, and 20 bytes for each voxel of one of its planes.

    Attributes:
        volume: the image.
        grid: the blocks.
        folder: gets the result, `highest` and `counts`; see `scripts.transforms.percentile.count_values`.
        uppers: see there.
    """

    volume: ChunkedVolume
    grid: Grid
    folder: WorkFolder
    uppers: Sequence[int] = ()

    @property
    def stage(self) -> str:
        """Name of the results."""
        return "_".join([STAGE, *map(str, self.uppers)])

    def __call__(self, block: int) -> None:
        """Look at a block, unless it was done.

        Raises:
            InputError: it holds NaN or infinite voxels.
        """
        if self.folder.done(self.stage, block):  # by another shard in the meantime
            return
        box = self.grid.core(block)
        voxels = self.volume[box]
        check_finite(voxels, box, self.volume.name)
        counts = count_values(voxels, self.uppers)
        self.folder.save(self.stage, block, {"counts": counts, "highest": voxels.max()})


def intensity_range(volume: ChunkedVolume, run: Run, percentiles: Sequence[float]) -> tuple[float, float]:
    """Return two percentiles of a volume, as the whole has them; they are kept in the folder.

    Every shard looks at its own blocks first and then at those that no other has done. Integers up to 16 bits are
    looked at once, others twice, and once more where both percentiles are one value.

    Args:
        volume: the image.
        run: its blocks, the folder and the workers.
        percentiles: the lower and the upper one.

    Raises:
        InputError: as `scripts.transforms.percentile.grey_ends`, or there are NaN or infinite voxels.
    """
    folder = run.folder
    check_percentiles(percentiles)
    if not folder.done("range", 0):
        ends = grey_ends(lambda uppers: _survey(volume, run, uppers), volume.dtype, percentiles, volume.name)
        folder.save("range", 0, {"range": np.array(ends)})
    low, high = folder.load("range", 0)["range"].tolist()
    logger.info("%s: percentiles %s are taken as %g and %g", volume.name, tuple(percentiles), low, high)
    return low, high


def check_finite(voxels: np.ndarray, box: Box, name: str) -> None:
    """See that a box of an image has neither NaN nor infinite voxels.

    Raises:
        InputError: it has.
    """
    if voxels.dtype.kind == "f" and (bad := sum(int((~np.isfinite(plane)).sum()) for plane in voxels)):
        where = ", ".join(f"{axis} {side.start} to {side.stop - 1}" for axis, side in zip("zyx", box, strict=True))
        raise InputError(f"{name}: {bad} NaN or infinite voxels within {where}; expected none. Replace them, by 0 say.")


def _survey(volume: ChunkedVolume, run: Run, uppers: Sequence[int]) -> np.ndarray:
    """What `count_values` gives of the whole."""
    grid, folder, schedule = run
    work, every = SurveyWork(volume, grid, folder, uppers), range(len(grid))
    todo = [block for block in every if not folder.done(work.stage, block)]
    mine = schedule.own(todo)
    schedule.run("grey values", work, mine + sorted({*todo} - {*mine}), run.voxels)
    counts = folder.load(work.stage, 0)["counts"]
    for block in every[1:]:
        counts += folder.load(work.stage, block)["counts"]
    return counts
