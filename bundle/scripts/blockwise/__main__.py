"""Command line: ``python -m scripts.blockwise --pred maps.zarr --out instances.ome.zarr``, for maps of any size."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

from scripts.blockwise.option import doubled, options_of
from scripts.blockwise.plan import fitting_block, make_plan, window_bytes
from scripts.blockwise.preflight import checked_target
from scripts.blockwise.schedule import Schedule
from scripts.blockwise.source import Maps
from scripts.blockwise.volume import label_volume
from scripts.command.flag import flag
from scripts.command.start import start
from scripts.errors import InputError
from scripts.plan.file import read_plan
from scripts.volume_io.grid import Grid
from scripts.watershed.choice import choose

__all__ = ["main"]

BLOCK = (128, 256, 256)


def main(
    pred: str,
    out: str,
    target: str | None = None,
    dataset: str | None = None,
    unit: bool | None = None,
    block: Sequence[int] | None = None,
    halo: Sequence[int] = (16, 32, 32),
    max_halo: Sequence[int] | None = None,
    memory: float | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    shard: int = 0,
    shards: int = 1,
    table: str | None = None,
    plan: bool = False,
    keep: bool = False,
    **options: Any,
) -> None:
    """Decode maps of any size to the instances that scripts.watershed finds in the whole.

    The plan that the maps carry says target and thresholds, as for scripts.watershed; flags override it. Stopped or
    killed, it resumes when the same command is given.

    Args:
        pred: maps (C, Z, Y, X): Zarr, OME-Zarr or HDF5.
        out: .ome.zarr for the instances, with their lower resolutions; a table of them, .csv, is written beside it.
        target: what the maps are, bcd, bc or affinity; by default what their plan says, or bcd.
        dataset: name of the maps, where the file has several.
        unit: for maps of floats, whether they run from 0 to 1 (true) or to 255 (false).
        block: (z,y,x) of a block; by default 128,256,256, or smaller to fit --memory.
        halo: (z,y,x) around a block, about as wide as an object.
        max_halo: (z,y,x) up to which it is doubled where a label is not certain; by default eight times the halo.
        memory: GB that each worker may take.
        workers: processes on this machine.
        scheduler: of Dask, tcp://host:port, or "local" for one on this machine.
        shard: part of the blocks that this run does, from 0, where several runs share them.
        shards: number of such runs.
        table: another name for the table, .csv or .parquet.
        plan: print what the run will take, and do nothing.
        keep: keep the folder of the run, OUT.work; with several shards it is kept in any case.
        options: thresholds of scripts.watershed, min_seed_size, min_instance_size, small_mode (background, none).

    Raises:
        InputError: a file or a flag does not fit.
    """
    schedule = Schedule(workers, scheduler, shard, shards)
    chosen = choose(pred, read_plan(pred), target, options, list(inspect.signature(main).parameters)[:-1])
    decoder, recipe = chosen.decoder, options_of(chosen.decoder).recipe
    checked_target(out, table)
    maps = Maps(pred, type(decoder), dataset, unit)
    doubled(halo, max_halo)
    block = _block(maps, block, halo, memory)
    if flag(plan, "plan"):
        grid, share = Grid.of(maps.shape, block), workers * shards
        print(make_plan(maps, grid, recipe, doubled(halo)[0], share))
        return
    print(chosen, flush=True)
    found = label_volume(
        pred,
        out,
        decoder,
        dataset=dataset,
        unit=unit,
        block=block,
        halo=halo,
        max_halo=max_halo,
        schedule=schedule,
        table=table,
        keep=flag(keep, "keep"),
    )
    print(f"{found.instances} instances in {out}; {found}", end="")
    print(f"; {found.grown} blocks needed a larger halo" if found.grown else "")


def _block(maps: Maps, block: Sequence[int] | None, halo: Sequence[int], memory: float | None) -> Sequence[int]:
    """The block asked for, or one that fits into the memory."""
    if memory is None:
        return block or BLOCK
    channels, itemsize = maps.channels, maps.volume.dtype.itemsize
    fitting = fitting_block(maps.shape, halo, channels, itemsize, memory * 1e9, block or BLOCK)
    if block and (needed := window_bytes(block, halo, channels, itemsize)) > memory * 1e9:
        advice = ",".join(map(str, fitting))
        raise InputError(f"--block {block} needs {needed / 1e9:.2f} GB, --memory is {memory:g}. Give --block {advice}.")
    return fitting


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start(main)
