"""The maps of a part of a volume: voxel for voxel those that the inferer gives for the whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scripts.inferer.padding import reflected
from scripts.inferer.window import WindowGrid, window_weights
from scripts.volume_io.grid import shape_of

if TYPE_CHECKING:
    from scripts.inferer.sliding_window import MapInferer

__all__ = ["PartInferer"]

Box = tuple[slice, ...]


class PartInferer:
    """Maps of parts of a volume that is larger than memory, as `MapInferer` would give them for the whole.

    The windows are those of the whole volume. Each one that reaches into a part is computed for it, and they are added
    in the order of the whole, so that a voxel's value does not depend on how the volume is divided.

    Memory: in as many planes of the part as a window has, 4 (M + 1) bytes for each voxel (blended maps and the sum of
    weights), 4 (M + 2) with the image; the image of `source` as it is given; besides, a few planes and windows.

    Args:
        inferer: window, overlap, weights, padding, flips and the rest.
        network: as for `MapInferer`.
        shape: of the whole volume (Z, Y, X).
        normalise: grey values of the volume, float32, to those of the network, voxel by voxel.
        device: of the network; what is blended is blended there.
        predict: what the inferer's `predictor` returns for the network, where it is more than that.
    """

    def __init__(
        self,
        inferer: MapInferer,
        network: Callable[..., Any],
        shape: Sequence[int],
        normalise: Callable[[torch.Tensor], torch.Tensor],
        device: torch.device | str = "cpu",
        predict: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        self.shape, self.padding = tuple(shape), inferer.padding
        self.windows = inferer.windows(shape)
        self.normalise, self.device = normalise, torch.device(device)
        self._predict = predict or inferer.predictor(network)
        self._batch = inferer.sw_batch_size
        self._weights = window_weights(self.windows.size, inferer.mode, inferer.sigma_scale).to(self.device)

    def source(self, box: Box) -> Box:
        """Return the voxels (z, y, x) of the volume that the maps of a box depend on."""
        index = self._index(self.windows.overlapping(self._padded(box)).extent())
        return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in index)

    def planes(self, image: np.ndarray, box: Box) -> Iterator[tuple[slice, torch.Tensor]]:
        """Give the maps of a box, a few planes at a time, from the first to the last.

        Args:
            image: the voxels of `source(box)`, (z, y, x), of any type.
            box: (z, y, x) in the volume.

        Yields:
            Which planes of the box, and their maps (M, z, y, x), float32 in [0, 1], with the image first if the inferer
            is to give it.
        """
        part = self._padded(box)
        windows = self.windows.overlapping(part)
        cut = self._cutter(image, windows, self.source(box))
        blend = _Blend(part, self._weights)
        layers = windows.starts[0]
        for z, after in zip(layers, [*layers[1:], part[0].stop], strict=True):
            places = [(z, *place) for place in itertools.product(*windows.starts[1:])]
            for first in range(0, len(places), self._batch):
                self._add(blend, places[first : first + self._batch], cut)
            yield from blend.finished(after)

    @torch.no_grad()
    def _add(self, blend: _Blend, places: Sequence[Sequence[int]], cut: Callable[..., torch.Tensor]) -> None:
        for place, maps in zip(places, self._predict(torch.stack([cut(place) for place in places])), strict=True):
            blend.add(maps, place)

    def _cutter(self, image: np.ndarray, windows: WindowGrid, source: Box) -> Callable[..., torch.Tensor]:
        """Return what cuts the window (1, z, y, x) that starts at a place of the padded volume."""
        extent = windows.extent()
        index = [axis - part.start for axis, part in zip(self._index(extent), source, strict=True)]

        def cut(place: Sequence[int]) -> torch.Tensor:
            starts = [start - first.start for start, first in zip(place, extent, strict=True)]
            axes = [axis[start : start + n] for axis, start, n in zip(index, starts, windows.size, strict=True)]
            window = torch.from_numpy(image[np.ix_(*axes)].astype(np.float32, copy=False))  # a copy in any case
            return self.normalise(window.to(self.device))[None]

        return cut

    def _padded(self, box: Box) -> Box:
        return tuple(slice(b.start + p, b.stop + p) for b, p in zip(box, self.padding, strict=True))

    def _index(self, extent: Box) -> list[np.ndarray]:
        axes = zip(extent, self.padding, self.shape, strict=True)
        return [reflected(positions, padding, size) for positions, padding, size in axes]


class _Blend:
    """Weighted sums over the planes of a part that windows still reach, (M, z, y, x), and of the weights, (z, y, x)."""

    def __init__(self, part: Box, weights: torch.Tensor) -> None:
        self.part, self.weights = part, weights
        self.first = part[0].start  # plane of the padded volume that the sums begin with
        depth, *sides = shape_of(part)
        self.weight = weights.new_zeros(min(depth, weights.shape[0]), *sides)
        self.total: torch.Tensor | None = None

    def add(self, maps: torch.Tensor, place: Sequence[int]) -> None:
        """Add what a window (M, z, y, x) that starts at a place says, where it lies in the part."""
        if self.total is None:
            self.total = self.weight.new_zeros(len(maps), *self.weight.shape)
        starts = (self.first, *(side.start for side in self.part[1:]))
        axes = list(zip(place, self.weights.shape, self.part, starts, strict=True))
        spans = [(max(at, start), min(at + n, side.stop)) for at, n, side, start in axes]
        here = tuple(slice(a - start, b - start) for (a, b), (*_, start) in zip(spans, axes, strict=True))
        there = tuple(slice(a - at, b - at) for (a, b), (at, *_) in zip(spans, axes, strict=True))
        weights = self.weights[there]
        for total, channel in zip(self.total, maps, strict=True):
            total[here] += channel[there] * weights
        self.weight[here] += weights

    def finished(self, z: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Give the planes before `z`, which no window reaches any more, one by one."""
        count = z - self.first
        if count <= 0 or self.total is None:
            return
        begin = self.first - self.part[0].start
        for plane in range(count):
            maps = self.total[:, plane : plane + 1] / self.weight[plane]
            yield slice(begin + plane, begin + plane + 1), maps.clamp_(0, 1)  # can leave [0, 1] by a rounding error
        for sums in (*self.total, self.weight):
            _move_up(sums, count)
        self.first += count


def _move_up(planes: torch.Tensor, count: int) -> None:
    """Move all but the first `count` planes to the front, one by one, and set the others to 0."""
    kept = len(planes) - count
    for plane in range(kept):
        planes[plane] = planes[plane + count]
    planes[kept:] = 0
