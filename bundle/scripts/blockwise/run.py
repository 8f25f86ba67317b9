"""Stages over the blocks of a volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from scripts.allocator import reused_memory
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.schedule import Schedule, Work
from scripts.errors import UNFINISHED
from scripts.volume_io.grid import Grid, shape_of

__all__ = ["LATER", "Run", "UnfinishedError"]

logger = logging.getLogger(__name__)

LATER = UNFINISHED
"""Exit status of a command that has to wait for other shards."""


@dataclass(frozen=True)
class Reusing:
    """Work in which memory is kept for reuse, and given back after each block: else it is scattered, and grows.

    Attributes:
        work: what is done in a block.
    """

    work: Work

    def __call__(self, block: int) -> None:
        """Work on a block."""
        with reused_memory():
            self.work(block)


class UnfinishedError(Exception):
    """Blocks of other shards are not done yet: the rest has to wait for them."""


class Run(NamedTuple):
    """A volume's grid, where results are kept, and who works.

    Attributes:
        grid: the blocks.
        folder: settings and results, opened.
        schedule: the workers, running.
    """

    grid: Grid
    folder: WorkFolder
    schedule: Schedule

    def stage(self, name: str, work: Work) -> None:
        """Do a stage in all blocks that are not done.

        Args:
            name: of the stage and of its results.
            work: saves the block's result under this name when all else is written.

        Raises:
            UnfinishedError: this shard's blocks are done and those of others are not.
            InputError: see `Schedule.run`.
        """
        own = self.schedule.own(range(len(self.grid)))
        todo = [block for block in own if not self.folder.done(name, block)]
        if done := len(own) - len(todo):
            logger.info("%s: %d blocks are done already", name, done)
        begun = time.perf_counter()
        self.schedule.run(name, Reusing(work), todo, self.voxels)
        if todo:
            seconds, voxels = time.perf_counter() - begun, sum(map(self.voxels, todo))
            logger.info("%s: %.1f s, %.1f million voxels/s", name, seconds, voxels / seconds / 1e6)
        if missing := sum(not self.folder.done(name, block) for block in range(len(self.grid))):
            raise UnfinishedError(f"{name}: {missing} of {len(self.grid)} blocks are left to other shards.")

    def alone(self, name: str, work: Callable[[], None]) -> None:
        """Do what cannot be shared, in this process; shard 0 does it, and it saves its result as block 0 of `name`.

        Raises:
            UnfinishedError: it is not done, and this is another shard.
        """
        if self.folder.done(name, 0):
            return
        if self.schedule.shard:
            raise UnfinishedError(f"{name}: left to shard 0.")
        begun = time.perf_counter()
        work()
        logger.info("%s: %.1f s, in one process", name, time.perf_counter() - begun)

    def voxels(self, block: int) -> int:
        """Voxels of a block."""
        z, y, x = shape_of(self.grid.core(block))
        return z * y * x
