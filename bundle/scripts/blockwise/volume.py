"""Maps of any size to instances: the stages in their order."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scripts.blockwise.clean import CleanWork, DoubtWork, LevelWork, voxels_in_doubt
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.identity import identify
from scripts.blockwise.label import LabelWork
from scripts.blockwise.option import Options, Triple, doubled, options_of
from scripts.blockwise.preflight import checked_target
from scripts.blockwise.run import Run
from scripts.blockwise.schedule import Schedule
from scripts.blockwise.seed import SeedWork
from scripts.blockwise.source import Maps
from scripts.blockwise.table import write_table
from scripts.metrics.measure import join
from scripts.plan import Plan
from scripts.plan.file import METADATA, read_plan
from scripts.volume_io import ZarrVolume, create_zarr, last_change, pyramid_factors, write_ome_metadata
from scripts.volume_io.absent import is_lacking
from scripts.volume_io.grid import Grid, chunk_side
from scripts.watershed import BCDWatershed
from scripts.watershed.choice import with_decoder

__all__ = ["BlockwiseDecoder", "Summary", "label_volume"]

logger = logging.getLogger(__name__)


class Summary(NamedTuple):
    """What came out.

    Attributes:
        instances: how many there are.
        certain: share of voxels whose label is proven to be the whole volume's, instances of doubtful size left out.
        grown: blocks for which the first halo was not enough.
        absent: what the file of the maps lacks, "" for nothing.
    """

    instances: int
    certain: float
    grown: int
    absent: str = ""

    def __str__(self) -> str:
        lacking = f"; of the maps {self.absent}" if self.absent else ""
        return f"{100 * self.certain:.4f} % of the voxels certain{lacking}"


def label_volume(
    pred: str | os.PathLike[str],
    out: str | os.PathLike[str],
    decoder: BCDWatershed,
    *,
    dataset: str | None = None,
    unit: bool | None = None,
    block: Sequence[int] = (128, 256, 256),
    halo: Sequence[int] = (16, 32, 32),
    max_halo: Sequence[int] | None = None,
    schedule: Schedule | None = None,
    table: str | os.PathLike[str] | None = None,
    keep: bool = False,
) -> Summary:
    """Decode maps of any size, block by block, to the labels that `decoder` gives of the whole.

    The store of the labels carries the plan of the maps, with the options of `decoder`.
    A folder `<out>.work` holds what is unfinished. Stopped or killed, the same call resumes from there.

    Memory of a worker: see `scripts.blockwise.plan`.

    Args:
        pred: store of maps (C, Z, Y, X); see `scripts.blockwise.source.Maps`.
        out: OME-Zarr for the labels, uint32 (uint64 beyond 4 billion seeds), a name ending in .zarr; must not exist.
            Ids count from 1 without gaps, in the order of the seeds' first voxels.
        decoder: with its thresholds. `small_mode` is background or none.
        dataset: see `Maps`.
        unit: see `Maps`.
        block: (z, y, x) for each block.
        halo: (z, y, x) around it.
        max_halo: up to which it is doubled where labels are uncertain, by default eight times as much.
        schedule: the workers.
        table: .csv or .parquet, by default beside `out`; must not exist.
        keep: keep the work folder. With several shards it is kept in any case.

    Raises:
        InputError: something does not fit; named before any work.
        UnfinishedError: other shards are not done.
    """
    (target, rows), schedule = checked_target(out, table), schedule or Schedule()
    options, maps = options_of(decoder), Maps(pred, type(decoder), dataset, unit)
    grid = Grid.of(maps.shape, block)
    halos = doubled(halo, max_halo)
    plan = with_decoder(read_plan(pred) or Plan({}), decoder).to_text()
    folder = WorkFolder(f"{target}.work")
    # "results": raised when the stages leave other results, which an interrupted run of an earlier version lacks
    settings: dict[str, Any] = {"results": 3, "pred": os.path.abspath(pred), "last_change": last_change(pred)}
    settings |= {"dataset": dataset, "shape": grid.shape, "block": grid.block, "halos": halos, "unit": maps.unit}
    settings |= {"decoder": type(decoder).__name__, **options.given}
    with folder.locked(f"shard_{schedule.shard}_of_{schedule.shards}"), schedule.running():
        folder.open(settings)
        job = _Job(maps, Run(grid, folder, schedule), options, target, rows, plan)
        summary = job.run(halos)
    if schedule.shards == 1 and not keep:
        folder.remove()
    elif schedule.shards > 1:  # by it those that come last see that all is done
        logger.info("%s is left for the other shards; remove it when all have ended.", folder.path)
    return summary


class _Job(NamedTuple):
    maps: Maps
    run_: Run
    options: Options
    target: Path
    table: Path
    plan: str

    def run(self, halos: Sequence[Triple]) -> Summary:
        if self.target.exists():  # stopped after the labels had been moved to their place
            return self._summary()
        run, maps, recipe = self.run_, self.maps, self.options.recipe
        grid, folder = run.grid, run.folder
        seeds = self._store(folder.path / "seeds.zarr", grid, np.dtype(np.uint32), "0")
        run.stage("seeds", SeedWork(grid, maps, recipe, seeds, folder))
        run.alone("volume", lambda: identify(grid, folder, self.options.min_seed_size))
        many = len(folder.load("volume", 0)["sizes"]) > np.iinfo(np.uint32).max
        dtype = np.dtype(np.uint64 if many else np.uint32)
        labels = self._store(folder.path / "labels.zarr", grid, dtype, "0")
        doubt = self._store(folder.path / "doubt.zarr", grid, np.dtype(np.uint8), "0")
        run.stage("labels", LabelWork(grid, maps, recipe, seeds, labels, doubt, folder, halos))
        run.stage("doubt", DoubtWork(grid, labels, doubt, folder))
        run.alone("kept", lambda: self._drop_small(halos[0]))
        result = self._store(self.unfinished, grid, dtype, "0", self.plan)
        run.stage("clean", CleanWork(grid, labels, result, folder))
        levels = self._pyramid(result)
        run.alone("finished", lambda: self._finish(levels))
        return self._summary()

    @property
    def unfinished(self) -> Path:
        """Where the labels are until all of them are there."""
        return self.run_.folder.path / self.target.name

    def _store(self, path: Path, grid: Grid, dtype: np.dtype, dataset: str, plan: str = "") -> ZarrVolume:
        z, y, x = (chunk_side(side) for side in grid.block)
        kept, size = {METADATA: plan} if plan else {}, self.maps.volume.voxel_size
        return create_zarr(path, grid.shape, dtype, (z, y, x), size, dataset=dataset, attributes=kept)

    def _drop_small(self, first: Triple) -> None:
        folder, doubt = self.run_.folder, {"uncertain": np.array(0), "grown": np.array(0)}

        def results() -> Iterator[dict[str, np.ndarray]]:
            for block in range(len(self.run_.grid)):
                found = folder.load("labels", block)
                doubt["uncertain"] += found["uncertain"]
                doubt["grown"] += tuple(found["halo"].tolist()) != first
                yield found

        instances = join(results())
        small = instances["voxels"] < self.options.min_instance_size
        touched = (folder.load("doubt", block)["ids"] for block in range(len(self.run_.grid)))
        doubt["uncertain"] += voxels_in_doubt(instances, touched, doubt["uncertain"], self.options.min_instance_size)
        seeds = folder.load("volume", 0)
        kept = {name: column[~small] for name, column in instances.items()}
        ids, count = kept["ids"], len(kept["ids"])
        kept |= {"seed_voxels": seeds["sizes"][ids], "seed_foreground": seeds["foreground"][ids]}
        folder.save("instances", 0, kept | {"ids": np.arange(1, count + 1)})
        folder.save("summary", 0, {"instances": np.array(count), **doubt})
        folder.save("kept", 0, {"ids": ids})

    def _pyramid(self, finest: ZarrVolume) -> list[tuple[str, Triple]]:
        levels: list[tuple[str, Triple]] = [("0", (1, 1, 1))]
        finer = finest
        coarser = pyramid_factors(finest.shape, finest.voxel_size, finest.chunks)[1:]
        for level, factors in enumerate(coarser, 1):
            z, y, x = (int(factor // before) for factor, before in zip(factors, levels[-1][1], strict=True))
            shape = [-(-size // step) for size, step in zip(finer.shape, (z, y, x), strict=True)]
            grid, stage = Grid.of(shape, self.run_.grid.block), f"level_{level}"
            labels = self._store(self.unfinished, grid, finest.dtype, str(level))
            work = LevelWork(grid, finer, labels, (z, y, x), self.run_.folder, stage)
            self.run_._replace(grid=grid).stage(stage, work)
            levels.append((str(level), factors))
            finer = labels
        return levels

    def _finish(self, levels: Sequence[tuple[str, Triple]]) -> None:
        folder, maps = self.run_.folder, self.maps
        write_ome_metadata(self.unfinished, self.target.stem, levels, maps.volume.voxel_size, labels=True)
        scale = 1.0 if maps.unit else 255.0
        folder.save("moving", 0, {})  # from here on the final names are this run's
        write_table(self.table, folder.load("instances", 0), self.options.recipe.names[:2], scale)
        os.replace(self.unfinished, self.target)
        folder.save("finished", 0, {})

    def _summary(self) -> Summary:
        found = self.run_.folder.load("summary", 0)
        z, y, x = self.run_.grid.shape
        certain = 1 - int(found["uncertain"]) / (z * y * x)
        absent = self.maps.volume.absent
        lacking = str(absent) if is_lacking(absent) else ""
        return Summary(int(found["instances"]), certain, int(found["grown"]), lacking)


class BlockwiseDecoder:
    """What blockwise.yaml calls when the maps are complete: instances and their table beside them.

    Args:
        decoder: with its thresholds.
        out: see `label_volume`, as all that follows.
        block: in voxels (z, y, x).
        halo: around it.
        max_halo: up to which it grows.
        table: by default beside `out`.
    """

    def __init__(
        self,
        decoder: BCDWatershed,
        out: str,
        block: Sequence[int] = (128, 256, 256),
        halo: Sequence[int] = (16, 32, 32),
        max_halo: Sequence[int] | None = None,
        table: str | None = None,
    ) -> None:
        self.decoder, self.out = decoder, out
        self.options: dict[str, Any] = {"block": block, "halo": halo, "max_halo": max_halo, "table": table}

    def check(self) -> None:
        """See that the instances can be written and the decoder works by blocks.

        Raises:
            InputError: they cannot, or it does not.
        """
        checked_target(self.out, self.options["table"])
        options_of(self.decoder)
        doubled(self.options["halo"], self.options["max_halo"])

    def __call__(self, maps: str | os.PathLike[str], schedule: Schedule, voxel_factor: float = 1.0) -> Summary:
        """Decode maps that are complete, with sizes for a volume whose objects have so many times as many voxels."""
        decoder = self.decoder.for_voxels(voxel_factor)
        found = label_volume(maps, self.out, decoder, schedule=schedule, **self.options)
        logger.info("%s: %d instances, %s", self.out, found.instances, found)
        return found
