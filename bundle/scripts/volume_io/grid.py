"""A volume cut into blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from scripts.errors import InputError

__all__ = ["Box", "Grid", "chunk_side", "shape_of", "shifted"]

Box = tuple[slice, slice, slice]


class Grid(NamedTuple):
    """Blocks of one shape that cover a volume, numbered in raster order; those at the far ends may be smaller.

    Attributes:
        shape: of the volume (Z, Y, X).
        block: of a block (z, y, x).
    """

    shape: tuple[int, int, int]
    block: tuple[int, int, int]

    @classmethod
    def of(cls, shape: Sequence[int], block: Sequence[int]) -> Grid:
        """Return the grid, blocks clipped to the volume.

        Raises:
            InputError: the block is not three whole numbers above 0.
        """
        if len(block) != 3 or any(int(side) != side or side < 1 for side in block):
            raise InputError(f"block: found {block}, expected three whole numbers (z, y, x) above 0.")
        depth, height, width = (min(int(side), size) for side, size in zip(block, shape, strict=True))
        z, y, x = map(int, shape)
        return cls((z, y, x), (depth, height, width))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Blocks along z, y and x."""
        z, y, x = (math.ceil(size / side) for size, side in zip(self.shape, self.block, strict=True))
        return z, y, x

    def __len__(self) -> int:  # of blocks, not of fields
        return math.prod(self.counts)

    def position(self, number: int) -> tuple[int, int, int]:
        """Return the block's place (z, y, x) among the blocks."""
        _, rows, columns = self.counts
        return number // (rows * columns), number // columns % rows, number % columns

    def number(self, position: Sequence[int]) -> int | None:
        """Return the block at a place, None outside the volume."""
        if any(not 0 <= place < count for place, count in zip(position, self.counts, strict=True)):
            return None
        _, rows, columns = self.counts
        return (position[0] * rows + position[1]) * columns + position[2]

    def core(self, number: int) -> Box:
        """Return the voxels of a block."""
        return self.window(number, (0, 0, 0))

    def window(self, number: int, halo: Sequence[int], after: Sequence[int] | None = None) -> Box:
        """Return the voxels of a block and of `halo` (z, y, x) more on all sides, within the volume.

        Args:
            number: of the block.
            halo: voxels before and after it.
            after: voxels after it, where they differ.
        """
        starts = [place * side for place, side in zip(self.position(number), self.block, strict=True)]
        ends = zip(starts, self.block, after or halo, self.shape, strict=True)
        stops = [min(start + side + more, size) for start, side, more, size in ends]
        z, y, x = (slice(max(0, start - more), stop) for start, more, stop in zip(starts, halo, stops, strict=True))
        return z, y, x

    def forward_neighbours(self, number: int) -> list[tuple[int, tuple[int, int, int]]]:
        """Return the blocks that come after this one along one, two or all axes, and along which, 0 or 1 each."""
        place = self.position(number)
        found = []
        for z, y, x in itertools.product((0, 1), repeat=3):
            other = self.number((place[0] + z, place[1] + y, place[2] + x))
            if other not in (None, number):
                found.append((other, (z, y, x)))
        return found

    def touching(self, box: Box) -> list[int]:
        """Return the blocks that share voxels with a box."""
        spans = (range(b.start // side, (b.stop - 1) // side + 1) for b, side in zip(box, self.block, strict=True))
        return [number for place in itertools.product(*spans) if (number := self.number(place)) is not None]


def shape_of(box: Sequence[slice]) -> tuple[int, ...]:
    """Return the lengths of a box's sides."""
    return tuple(side.stop - side.start for side in box)


def shifted(box: Box, origin: Box) -> Box:
    """Return a box counted from where another one starts."""
    z, y, x = (slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, origin, strict=True))
    return z, y, x


def chunk_side(side: int, most: int = 64) -> int:
    """Return the longest chunk of at most `most` voxels that divides a block's side; the side itself if it has none.

    >>> chunk_side(256), chunk_side(100), chunk_side(127)
    (64, 50, 127)
    """
    fitting = [chunk for chunk in range(min(side, most), 0, -1) if side % chunk == 0]
    return fitting[0] if fitting[0] >= min(side, 16) else side
