"""Stage 2: the seeds of all blocks joined, and numbered as in the volume as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.seed import AXES, NOWHERE
from scripts.volume_io.grid import Grid, shape_of

__all__ = ["identify"]


def identify(grid: Grid, folder: WorkFolder, min_seed_size: int) -> None:
    """Give each block's seeds their ids in the volume; done in one process, in memory.

    Ids count the seeds of the volume in the order of their first voxels, from 1; those of seeds smaller than
    `min_seed_size` stay unused, as in the watershed of the whole. Written for each block: `ids` by the block's number;
    and once, as "volume": `sizes` and `foreground` (sums) by id.

    Memory: about 60 bytes for each block's seed, fewer than 2 billion in all, and the planes of some blocks.
    """
    everything = (folder.load("seeds", block) for block in range(len(grid)))
    measures = [{name: found[name] for name in _MEASURES} for found in everything]
    counts = [len(found["sizes"]) for found in measures]
    starts = np.concatenate([[0], np.cumsum(counts)])
    # Of all that was found only this is held at once: planes are read again, for a block and those after it.
    load = lru_cache(maxsize=64)(partial(folder.load, "seeds"))
    pairs = [pair for block in range(len(grid)) for pair in _shared(grid, load, starts, block)]
    one, other = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(starts[-1], starts[-1]))
    joined = connected_components(links, directed=False)[1]
    sizes, foreground, first = (np.concatenate([found[name] for found in measures]) for name in _MEASURES)
    ids, totals = _numbered(joined, first, sizes, foreground, min_seed_size)
    ids[starts[:-1]] = 0  # each block's background
    for block, begin in enumerate(starts[:-1].tolist()):
        folder.save("ids", block, {"ids": ids[begin : begin + counts[block]]})
    folder.save("volume", 0, totals)


_MEASURES = ("sizes", "foreground", "first")


def _numbered(
    joined: np.ndarray, first: np.ndarray, sizes: np.ndarray, foreground: np.ndarray, min_size: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Ids of all the blocks' numbers, and size and sum of foreground by id."""
    count = int(joined.max(initial=-1)) + 1
    total = np.bincount(joined, sizes, count).astype(np.int64)
    earliest = np.full(count, NOWHERE)
    np.minimum.at(earliest, joined, first)
    order = np.argsort(earliest, kind="stable")
    order = order[total[order] > 0]  # without the blocks' backgrounds
    rank = np.zeros(count, np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    sums = np.bincount(joined, foreground, count)
    totals = {"sizes": np.append(0, total[order]), "foreground": np.append(0, sums[order])}
    rank[total < min_size] = 0
    return rank[joined], totals


def _shared(
    grid: Grid, load: Callable[[int], dict[str, np.ndarray]], starts: np.ndarray, block: int
) -> Iterator[np.ndarray]:
    """Pairs (2, N) of seeds of a block and the next ones that share a voxel beyond it."""
    size = shape_of(grid.core(block))
    for other, step in grid.forward_neighbours(block):
        axis = step.index(1)
        rest = [index for index in range(3) if index != axis]
        beyond = load(block)[f"high_{AXES[axis]}"][tuple(_side(step[i], size[i], beyond=True) for i in rest)]
        within = load(other)[f"low_{AXES[axis]}"][tuple(_side(step[i], size[i], beyond=False) for i in rest)]
        both = (beyond > 0) & (within > 0)
        pairs = np.stack([beyond[both] + starts[block], within[both] + starts[other]])
        yield np.unique(pairs, axis=1)


def _side(step: int, size: int, beyond: bool) -> slice:
    """Where the shared voxels are along an axis of a plane."""
    if not step:
        return slice(0, size)
    return slice(size, size + 1) if beyond else slice(0, 1)
