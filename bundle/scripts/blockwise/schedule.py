"""Blocks given to workers: in this process, in several, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from scripts.blockwise.cluster import dask_cluster
from scripts.command.worker import end_with_parent
from scripts.errors import InputError
from tqdm import tqdm

__all__ = ["Schedule", "Work"]

Work = Callable[[int], Any]
"""Does a stage's work in the block of a number; picklable."""


class Schedule:
    """How the blocks of a stage are worked on.

    A worker that is killed loses its block and no other: with Dask another worker takes it, with processes the run ends
    and goes on when it is started again.

    Args:
        workers: processes on this machine; 1 works in this process.
        scheduler: "tcp://host:port" of a Dask scheduler, or "local" for a Dask cluster of `workers` on this machine.
        shard: number of this part of the blocks, from 0, where several runs share them (batch systems).
        shards: number of these parts.

    Raises:
        InputError: the numbers do not fit.
    """

    def __init__(self, workers: int = 1, scheduler: str | None = None, shard: int = 0, shards: int = 1) -> None:
        if workers < 1 or not 0 <= shard < shards:
            found = f"--workers {workers} --shard {shard} --shards {shards}"
            raise InputError(
                f"found {found}; expected a worker or more, and a shard from 0 to the number of shards - 1."
            )
        self.workers, self.scheduler, self.shard, self.shards = workers, scheduler, shard, shards
        self._finished: Callable[[Work, Sequence[int]], Iterator[int]] = _here

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the workers from here to the end of the block of code.

        Raises:
            InputError: Dask is asked for and not installed, or does not answer.
        """
        with self._workers() as self._finished:
            yield

    def own(self, blocks: Sequence[int]) -> list[int]:
        """Return the blocks of this shard: every `shards`-th."""
        return [block for block in blocks if block % self.shards == self.shard]

    def run(self, stage: str, work: Work, blocks: Sequence[int], voxels: Callable[[int], int]) -> None:
        """Do the work of a stage, with a bar over voxels; returns when all of these blocks are done.

        Args:
            stage: what the bar is called.
            work: called with the number of each block, in a worker.
            blocks: to be done.
            voxels: of a block.

        Raises:
            InputError: a worker died; or what the work raises.
        """
        with tqdm(
            total=sum(map(voxels, blocks)), desc=stage, unit=" voxels", unit_scale=True, disable=not blocks
        ) as bar:
            for done, block in enumerate(self._finished(work, blocks), 1):
                bar.set_postfix_str(f"{done} of {len(blocks)} blocks", refresh=False)
                bar.update(voxels(block))

    @contextmanager
    def _workers(self) -> Iterator[Callable[[Work, Sequence[int]], Iterator[int]]]:
        if self.scheduler:
            with dask_cluster(self.scheduler, self.workers) as cluster:
                yield cluster.run
        elif self.workers > 1:
            # spawned, not forked: libraries with threads (HDF5, torch) do not survive a fork
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(self.workers, spawn, initializer=end_with_parent) as pool:
                yield lambda work, blocks: _by_processes(pool, work, blocks)
        else:
            yield _here


def _here(work: Work, blocks: Sequence[int]) -> Iterator[int]:
    for block in blocks:
        work(block)
        yield block


def _by_processes(pool: ProcessPoolExecutor, work: Work, blocks: Sequence[int]) -> Iterator[int]:
    futures: dict[Future, int] = {}
    try:
        futures.update({pool.submit(work, block): block for block in blocks})
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    except BrokenProcessPool as error:
        raise InputError(
            "a worker died: it was killed, or ran out of memory. What is finished is kept: give the same command again "
            "to go on, with fewer --workers or a smaller --block if memory is short."
        ) from error
    finally:
        for future in futures:
            future.cancel()
