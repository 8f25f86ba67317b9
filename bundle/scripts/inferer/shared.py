"""Sliding-window inference of one volume in several processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from scripts.inferer.part import Box
from scripts.inferer.sliding_window import MapInferer
from scripts.inferer.window import WindowGrid
from scripts.volume_io.grid import shape_of
from tqdm import tqdm

__all__ = ["SharedMapInferer", "slabs"]


class SharedMapInferer(MapInferer):
    """`MapInferer` of which each process makes a slab of the maps; rank 0 is given all of them.

    Windows lie where they lie in one process and are added in the same order, so that maps do not depend on the number
    of processes: with one window at a time they are the same to the last bit. Those that reach from one slab into the
    next are computed by both processes. Where the group of processes has only one, or is none, this is `MapInferer`.

    Memory: that of `MapInferer`; of ranks above 0 with the maps of their slab alone.

    Args: those of `MapInferer`.
    """

    def _maps(self, volume: torch.Tensor, predict: Callable[..., torch.Tensor], device: torch.device) -> torch.Tensor:
        """Maps of a volume (Z, Y, X) on rank 0; on the others maps (M, 0, 0, 0)."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super()._maps(volume, predict, device)
        shape, rank = tuple(volume.shape), dist.get_rank()
        shares = slabs(self.windows(shape), shape, self.padding, dist.get_world_size())
        whole = self._empty(shape if rank == 0 else (0, 0, 0), device)
        z, y, x = box = shares[rank]
        own = whole[:, z, y, x] if rank == 0 else self._empty(shape_of(box), device)
        if own.numel():
            title = f"maps, process 1 of {dist.get_world_size()}"
            with tqdm(total=own.shape[1], desc=title, unit="plane", disable=not self.progress or rank > 0) as bar:
                for planes in self._fill(own, volume, predict, box):
                    bar.update(planes)
        _collect(whole, own, shares)
        return whole


def slabs(windows: WindowGrid, shape: Sequence[int], padding: Sequence[int], count: int) -> list[Box]:
    """Divide a volume among processes, across the axis along which most windows lie.

    A slab begins where a window does, so that as few windows as possible reach into two of them, and all have about as
    many to compute: with n layers of windows, of which e reach beyond the start of the next slab, (n + e (count - 1)) /
    count layers each.

    Args:
        windows: of the padded volume.
        shape: of the volume (Z, Y, X).
        padding: voxels (z, y, x) at both ends.
        count: of processes.

    Returns:
        One box for each, in their order; empty ones where there are too few windows.

    >>> grid = WindowGrid((4, 4, 4), ((0, 2, 4, 6, 8), (0,), (0,)))
    >>> [box[0] for box in slabs(grid, (10, 2, 2), (1, 1, 1), 2)]
    [slice(0, 5, None), slice(5, 10, None)]
    """
    axis = max(range(3), key=lambda i: len(windows.starts[i]))
    starts, size = windows.starts[axis], windows.size[axis]
    extra = -(-size // (starts[1] - starts[0])) - 1 if len(starts) > 1 else 0
    layers = (len(starts) + extra * (count - 1)) / count
    firsts = [min(max(round(i * layers - (i - 1) * extra), 0), len(starts)) for i in range(1, count)]
    places = [starts[first] - padding[axis] if first < len(starts) else shape[axis] for first in firsts]
    ends = [0, *(min(max(place, 0), shape[axis]) for place in places), shape[axis]]
    ends = list(itertools.accumulate(ends, max))
    sides = [slice(0, n) for n in shape]
    return [(*sides[:axis], slice(a, b), *sides[axis + 1 :]) for a, b in itertools.pairwise(ends)]


def _collect(whole: torch.Tensor, own: torch.Tensor, shares: Sequence[Box]) -> None:
    """Send the own maps to rank 0, which puts all in their place; channel by channel, to need less memory."""
    wire = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    senders = [dist.get_rank()] if dist.get_rank() else range(1, len(shares))
    for rank in (rank for rank in senders if all(shape_of(shares[rank]))):
        for channel in range(len(whole)):
            if dist.get_rank():
                dist.send(own[channel].to(wire).contiguous(), 0)
            else:
                part = torch.empty(shape_of(shares[rank]), dtype=whole.dtype, device=wire)
                dist.recv(part, rank)
                z, y, x = shares[rank]
                whole[channel, z, y, x] = part.to(whole.device)
    dist.barrier()  # none ends while its maps are on their way
