"""Stage 3: each block flooded from the volume's seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import fastremap
import numpy as np
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.source import Maps
from scripts.metrics.measure import measure
from scripts.volume_io import ZarrVolume
from scripts.volume_io.grid import Box, Grid, shape_of, shifted
from scripts.watershed.pipeline import Recipe, flood_any

__all__ = ["LabelWork", "Part", "faces_of", "flood_block"]


@dataclass(frozen=True)
class LabelWork:
    """Floods a block within a window that is larger by a halo, and proves what it can.

    The window is flooded as if something unknown came in through each of its inner faces before all else. Where that
    does not arrive in the block first, nothing outside the window can change a label: it is certain, the same as in the
    volume as a whole. Else the halo grows.

    Attributes:
        grid: the blocks.
        maps: to read.
        recipe: how mask and heights are told from maps.
        seeds: store of the blocks' own numbers.
        labels: store (Z, Y, X) to write.
        doubt: store (Z, Y, X) uint8 to write, 1 where a label is not proven.
        folder: for the results; see `measure`, and `uncertain`, the number of voxels whose label is not proven, and
            `halo`, the one used.
        halos: (z, y, x) to try, in this order.
    """

    grid: Grid
    maps: Maps
    recipe: Recipe
    seeds: ZarrVolume
    labels: ZarrVolume
    doubt: ZarrVolume
    folder: WorkFolder
    halos: Sequence[tuple[int, int, int]]

    def __call__(self, block: int) -> None:
        """Work on a block."""
        core = self.grid.core(block)
        for halo in self.halos:
            window = self.grid.window(block, halo)
            maps = self.maps.read(window)
            heights = self.recipe.threshold(maps, self.maps.unit)[0]
            maps = maps[:2][(slice(None),) + shifted(core, window)].copy()  # noqa: RUF005
            labels, uncertain = flood_block(self._part(heights, window, core), last=halo == self.halos[-1])
            if not uncertain.any():
                break
        self.labels[core] = labels.astype(self.labels.dtype, copy=False)
        self.doubt[core] = uncertain.view(np.uint8)
        result = measure(labels, maps, core, self.grid.shape, uncertain)
        count = np.count_nonzero(uncertain)
        self.folder.save("labels", block, {**result, "uncertain": np.array(count), "halo": np.array(halo)})

    def _part(self, heights: np.ndarray, window: Box, core: Box) -> Part:
        seeds = np.zeros(heights.shape, np.int64)
        for block in self.grid.touching(window):
            own = self.grid.core(block)
            shared = _overlap(window, own)
            ids = self.folder.load("ids", block)["ids"]
            if ids.any():
                seeds[shifted(shared, window)] = ids[self.seeds[shared]]
        small, back = fastremap.renumber(seeds, in_place=True)
        ids = np.zeros(len(back) + 1, np.int64)
        for id_, number in back.items():
            ids[int(number)] = id_
        return Part(heights, small, ids, shifted(core, window), faces_of(window, self.grid.shape))


class Part(NamedTuple):
    """A window to flood.

    Attributes:
        heights: as for `scripts.watershed.flood.flood`.
        seeds: small numbers.
        ids: what these are in the volume.
        core: the block in it.
        faces: True at voxels (z, y, x) of the window's inner faces.
    """

    heights: np.ndarray
    seeds: np.ndarray
    ids: np.ndarray
    core: Box
    faces: np.ndarray


def flood_block(part: Part, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels (z, y, x) of the block, and which of them are not certain.

    Args:
        part: the window.
        last: whether to find the most likely label of the uncertain ones, by a flood that nothing comes into.
    """
    unknown = len(part.ids)
    labels = flood_any(part.heights, part.seeds, part.faces, unknown)[part.core]
    uncertain = labels == unknown
    doubt = bool(uncertain.any())
    if doubt and last:
        labels = np.where(uncertain, flood_any(part.heights, part.seeds)[part.core], labels)
    return (part.ids[labels] if last or not doubt else labels), uncertain


def faces_of(window: Box, shape: Sequence[int]) -> np.ndarray:
    """True at the voxels (z, y, x) of a window's faces that are not the volume's."""
    faces = np.zeros(shape_of(window), bool)
    for axis, (side, size) in enumerate(zip(window, shape, strict=True)):
        along = np.moveaxis(faces, axis, 0)
        along[0] |= side.start > 0
        along[-1] |= side.stop < size
    return faces


def _overlap(one: Box, other: Box) -> Box:
    z, y, x = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return z, y, x
