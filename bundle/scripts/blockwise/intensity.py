"""Percentiles of a volume that is looked at block by block, and the grey values that the network sees."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.grid import Box, Grid
from scripts.blockwise.run import Run
from scripts.errors import InputError
from scripts.volume_io import ChunkedVolume

__all__ = ["GreyScale", "SurveyWork", "intensity_range", "merged_percentiles"]

logger = logging.getLogger(__name__)

STAGE = "intensity"
_SAMPLE = 2**24  # voxels of a volume of floats
# MONAI's AdjustContrast divides by the range, which is 1 for a whole volume between its percentiles, plus 1e-7
_RANGE = float(torch.tensor(1.0) + 1e-7)


@dataclass(frozen=True)
class GreyScale:
    """Grey values to [-1, 1], voxel by voxel; for a whole volume the transforms of inference.yaml do the same.

    Attributes:
        low: becomes -1, as does what is darker.
        high: becomes 1, as does what is brighter.
        gamma: exponent in between.
    """

    low: float
    high: float
    gamma: float = 1.0

    def __call__(self, grey: torch.Tensor) -> torch.Tensor:
        """Return the grey values, float32, as the network expects them."""
        unit = ((grey - self.low) / (self.high - self.low)).clamp(0, 1)
        return (unit / _RANGE) ** self.gamma * 2 - 1


@dataclass(frozen=True)
class SurveyWork:
    """Looks at the grey values of a block: the counts of all values of integers up to 16 bits, or a sample of others.

    Memory: the block as stored; of floats a byte per voxel more.

    Attributes:
        volume: the image.
        grid: the blocks.
        folder: gets the result, `highest` and either `counts` (from the type's lowest value on) or `sample`.
    """

    volume: ChunkedVolume
    grid: Grid
    folder: WorkFolder

    def __call__(self, block: int) -> None:
        """Look at a block, unless it was done.

        Raises:
            InputError: it holds NaN or infinite voxels.
        """
        if self.folder.done(STAGE, block):  # by another shard in the meantime
            return
        box = self.grid.core(block)
        voxels = self.volume[box]
        check_finite(voxels, box, self.volume.name)
        if _countable(voxels.dtype):
            found = {"counts": _counted(voxels)}
        else:
            found = {"sample": _sampled(voxels, box, self.grid.shape)}
        self.folder.save(STAGE, block, {**found, "highest": voxels.max()})


def intensity_range(volume: ChunkedVolume, run: Run, percentiles: Sequence[float]) -> tuple[float, float]:
    """Return two percentiles of a volume; all blocks are looked at once, and the result is kept in the folder.

    Every shard looks at its own blocks first and then at those that no other has done. Integers up to 16 bits give the
    percentiles of all voxels, others those of up to about 16 million, chosen by the volume's size alone.

    Args:
        volume: the image.
        run: its blocks, the folder and the workers.
        percentiles: the lower and the upper one.

    Raises:
        InputError: the two are the same grey value, or there are NaN or infinite voxels.
    """
    grid, folder, schedule = run
    if not folder.done("range", 0):
        every = range(len(grid))
        todo = [block for block in every if not folder.done(STAGE, block)]
        mine = schedule.own(todo)
        todo = mine + sorted({*todo} - {*mine})
        schedule.run("grey values", SurveyWork(volume, grid, folder), todo, run.voxels)
        ends = merged_percentiles((folder.load(STAGE, block) for block in every), volume.dtype, percentiles)
        folder.save("range", 0, {"range": np.array(ends)})
    low, high = folder.load("range", 0)["range"].tolist()
    part = 1 if _countable(volume.dtype) else _stride(grid.shape)
    of = "all voxels" if part == 1 else f"one voxel of {part}, drawn from a seed"
    logger.info("%s: percentiles %s of %s are %g and %g", volume.name, tuple(percentiles), of, low, high)
    if not low < high:
        raise InputError(
            f"{volume.name}: percentiles {tuple(percentiles)} are {low:g} and {high:g}; expected two grey values. Is "
            "it an image? If most of it is empty, give other intensity_percentiles, or both values as intensity_range."
        )
    return low, high


def merged_percentiles(
    results: Iterable[Mapping[str, np.ndarray]], dtype: np.dtype, percentiles: Sequence[float]
) -> list[float]:
    """Return percentiles of all blocks, rounded to float32 as MONAI's are.

    Args:
        results: what `SurveyWork` found in each block.
        dtype: of the volume.
        percentiles: from 0 to 100.
    """
    if not _countable(dtype):
        sample = np.concatenate([result["sample"] for result in results])
        return [float(np.float32(value)) for value in np.percentile(sample, percentiles)]
    counts = sum(result["counts"] for result in results)
    last = np.cumsum(counts)  # rank of the last voxel of each value, plus 1
    ranks = np.asarray(percentiles, np.float64) / 100 * (last[-1] - 1)
    below, above = (np.searchsorted(last, rank, side="right") for rank in (np.floor(ranks), np.ceil(ranks)))
    values = below + (above - below) * (ranks - np.floor(ranks)) + np.iinfo(dtype).min
    return [float(np.float32(value)) for value in values]


def check_finite(voxels: np.ndarray, box: Box, name: str) -> None:
    """See that a box of an image has neither NaN nor infinite voxels.

    Raises:
        InputError: it has.
    """
    if voxels.dtype.kind == "f" and (bad := sum(int((~np.isfinite(plane)).sum()) for plane in voxels)):
        where = ", ".join(f"{axis} {side.start} to {side.stop - 1}" for axis, side in zip("zyx", box, strict=True))
        raise InputError(f"{name}: {bad} NaN or infinite voxels within {where}; expected none. Replace them, by 0 say.")


def _countable(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _counted(voxels: np.ndarray) -> np.ndarray:
    info = np.iinfo(voxels.dtype)
    size = info.max - info.min + 1
    counts = np.zeros(size, np.int64)
    for plane in voxels:  # bincount takes 8 bytes for each voxel
        counts += np.bincount(plane.ravel().astype(np.int64) - info.min, minlength=size)
    return counts


def _stride(shape: Sequence[int]) -> int:
    return max(1, -(-int(np.prod(shape, dtype=np.int64)) // _SAMPLE))


def _sampled(voxels: np.ndarray, box: Box, shape: Sequence[int]) -> np.ndarray:
    """Choose every n-th voxel of a row, from a random one on, which the plane's number and the row's alone decide."""
    stride = _stride(shape)
    chosen = []
    for z, plane in zip(range(box[0].start, box[0].stop), voxels, strict=True):
        first = np.random.default_rng([20, z]).integers(stride, size=shape[1])[box[1], None]
        columns = np.arange(box[2].start, box[2].stop)
        chosen.append(plane[(columns + first) % stride == 0])
    return np.concatenate(chosen).astype(np.float32)
