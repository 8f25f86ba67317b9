"""The maps of a volume larger than memory, block by block: from a store that is read in parts into a Zarr store."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.intensity import STAGE as SURVEY
from scripts.blockwise.intensity import check_finite, intensity_range
from scripts.blockwise.preflight import check_block, check_intensity, check_store
from scripts.blockwise.run import Run
from scripts.blockwise.schedule import Schedule
from scripts.check.array import check_sides
from scripts.errors import InputError
from scripts.inferer import MapInferer, PartInferer, for_voxel_size
from scripts.plan import METADATA
from scripts.transforms.intensity import GreyScale
from scripts.volume_io import ChunkedVolume, ZarrVolume, create_zarr, last_change, open_volume
from scripts.volume_io.grid import Box, Grid, chunk_side, shape_of
from torch import nn

__all__ = ["PredictWork", "Prediction", "predict_volume"]

logger = logging.getLogger(__name__)


class Prediction(NamedTuple):
    """How maps are predicted; what stands here decides every voxel of them.

    Attributes:
        inferer: windows, padding, scale, flips, `empty_below` and the rest.
        network: with its weights, in eval mode, on its device.
        channel_names: of the maps, the image's among them if the inferer gives it.
        percentiles: grey values that become -1 and 1.
        gamma: exponent of the grey values in between.
        intensity_range: the two grey values, in the place of percentiles.
    """

    inferer: MapInferer
    network: nn.Module
    channel_names: Sequence[str]
    percentiles: Sequence[float] = (0.5, 99.5)
    gamma: float = 1.0
    intensity_range: Sequence[float] | None = None

    def settings(self) -> dict[str, Any]:
        """Return what tells one prediction from another, as JSON can hold it."""
        inferer, state = self.inferer, hashlib.sha256(str(self.network).encode())
        for name, value in self.network.state_dict().items():
            state.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        names = ("roi_size", "overlap", "mode", "sigma_scale", "padding", "scale", "flips", "amp", "empty_below")
        return {
            **{name: _plain(getattr(inferer, name)) for name in names},
            "network": state.hexdigest()[:16],
            "channel_names": list(self.channel_names),
            "intensity_percentiles": list(self.percentiles),
            "intensity_gamma": self.gamma,
            "intensity_range": _plain(self.intensity_range),
        }


@dataclass(frozen=True)
class PredictWork:
    """Predicts a block and writes it; see `PartInferer` for the memory, beside which the bytes of the maps are held.

    Attributes:
        prediction: how.
        grey: grey values to those of the network.
        volume: the image.
        store: (C, Z, Y, X) uint8, in chunks that divide the blocks.
        grid: the blocks.
        folder: gets the marks of finished blocks, and has what the survey of grey values found.
        threads: for torch, None to leave them.
    """

    prediction: Prediction
    grey: GreyScale
    volume: ChunkedVolume
    store: ZarrVolume
    grid: Grid
    folder: WorkFolder
    threads: int | None = None

    def __call__(self, block: int) -> None:
        """Predict a block.

        Raises:
            InputError: it cannot be read or written, or holds NaN or infinite voxels.
        """
        if self.threads:
            torch.set_num_threads(self.threads)
        box = self.grid.core(block)
        voxels = (slice(None), *box)
        self.store[voxels] = self.maps(box)
        self.folder.save("predict", block, {})

    def maps(self, box: Box) -> np.ndarray:
        """Return the maps of a box, (C, z, y, x) uint8: 255 times those of the inferer, truncated."""
        inferer, network = self.prediction.inferer, self.prediction.network
        part = PartInferer(inferer, network, self.grid.shape, self.grey, device_of(network))
        source = part.source(box)
        maps = np.zeros((self.store.shape[0], *shape_of(box)), np.uint8)
        if self._empty(source):
            return maps
        voxels = self.volume[source]
        z, y, x = source
        check_finite(voxels, (z, y, x), self.volume.name)
        for planes, unit in part.planes(voxels, box):
            maps[:, planes] = unit.mul_(255).to(torch.uint8).cpu().numpy()
        return maps

    def _empty(self, source: Sequence[slice]) -> bool:
        """Whether the survey found every block that a part sees too dark for any window to be looked at."""
        below, (z, y, x) = self.prediction.inferer.empty_below, source
        blocks = self.grid.touching((z, y, x))
        if below is None or not all(self.folder.done(SURVEY, block) for block in blocks):
            return False
        highest = max(float(self.folder.load(SURVEY, block)["highest"]) for block in blocks)
        return float(self.grey(torch.tensor(highest))) < below


def predict_volume(
    image: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prediction: Prediction,
    *,
    block: Sequence[int] = (128, 512, 512),
    schedule: Schedule | None = None,
) -> ZarrVolume:
    """Predict the maps of a volume of any size; each voxel is what inference of the whole gives, for any blocks.

    Beside `out` a folder `<out>.work` keeps what is done. Given again after it was stopped or killed, the same call
    goes on from there.

    Memory of a worker, in bytes for each voxel of a block: C for the maps, the image's own size with the windows around
    the block, and 4 (C + 1) in as many planes as a window has. It does not depend on the volume.

    Windows at the borders of blocks are computed for each block: (1 + 1/n)^3 times those of the whole, n the block's
    side in strides, where blocks begin on a stride, and (1 + 2/n)^3 where they do not.

    Args:
        image: of any format of `open_volume`.
        out: store of the maps (C, Z, Y, X) uint8, a name ending in .zarr.
        prediction: how.
        block: (z, y, x), no smaller than a window in voxels of the volume; clipped to the volume.
        schedule: the workers.

    Returns:
        The store, when all blocks are done.

    Raises:
        InputError: something does not fit; named before any prediction, where one can know.
        UnfinishedError: this shard's blocks are done and those of others are not.
    """
    image, out = (os.path.abspath(os.path.expanduser(path)) for path in (image, out))  # workers' directories differ
    volume, schedule = open_volume(image), schedule or Schedule()
    check_sides(volume.shape, volume.name)
    prediction = prediction._replace(inferer=for_voxel_size(prediction.inferer, volume.voxel_size, volume.name))
    grid = Grid.of(volume.shape, block)
    check_block(grid, prediction.inferer)
    check_intensity(prediction.intensity_range)
    threads = _threads(schedule, device_of(prediction.network))
    folder = WorkFolder(f"{out}.work")
    settings = {"image": image, "last_change": last_change(image), "shape": grid.shape}
    settings |= {"dtype": str(volume.dtype), "block": grid.block}
    with folder.locked(f"shard_{schedule.shard}_of_{schedule.shards}"), schedule.running():
        check_store(Path(out), folder, len(grid))
        folder.open({**settings, **prediction.settings()})
        store, run = _store(out, grid, volume, prediction), Run(grid, folder, schedule)
        low, high = prediction.intensity_range or intensity_range(volume, run, prediction.percentiles)
        grey = GreyScale(float(low), float(high), prediction.gamma)
        run.stage("predict", PredictWork(prediction, grey, volume, store, grid, folder, threads))
    return store


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next((value.device for value in network.state_dict().values()), torch.device("cpu"))


def _store(out: str | os.PathLike[str], grid: Grid, volume: ChunkedVolume, prediction: Prediction) -> ZarrVolume:
    names, plan = prediction.channel_names, prediction.inferer.plan
    shape, chunks = (len(names), *grid.shape), (1, *map(chunk_side, grid.block))
    kept = {} if plan is None else {METADATA: plan}
    return create_zarr(out, shape, np.uint8, chunks, volume.voxel_size, names, attributes=kept)


def _threads(schedule: Schedule, device: torch.device) -> int | None:
    """Return the threads of each worker on this machine.

    Raises:
        InputError: several workers would share one GPU.
    """
    here = schedule.scheduler in (None, "local")
    if here and schedule.workers > 1 and device.type == "cuda":
        raise InputError(
            f"workers: found {schedule.workers} on {device}, expected 1: they would share it. For several GPUs start a "
            "shard on each: CUDA_VISIBLE_DEVICES=0 … --shard 0 --shards 2 and so on."
        )
    return max(1, torch.get_num_threads() // schedule.workers) if here and schedule.workers > 1 else None


def _plain(value: Any) -> Any:
    """Return tuples as lists, and enumerations as their values."""
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else getattr(value, "value", value)
