"""Inference block by block, as blockwise.yaml wires it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scripts.blockwise.predict import Prediction, predict_volume
from scripts.blockwise.preflight import one_volume
from scripts.blockwise.run import LATER, UnfinishedError
from scripts.blockwise.schedule import Schedule
from scripts.blockwise.volume import BlockwiseDecoder
from scripts.checkpoint import load_weights
from scripts.inferer import MapInferer, for_voxel_size
from scripts.representation import Representation
from scripts.volume_io import open_volume
from scripts.volume_io.absent import is_lacking
from torch import nn

__all__ = ["BlockwiseInference"]

logger = logging.getLogger(__name__)


class BlockwiseInference:
    """Predicts the maps of one volume into a Zarr store, and has them decoded.

    Args:
        image: one volume, of any format that is read in parts.
        maps: store of the maps, a name ending in .zarr.
        network: the generator Y to X.
        model_path: its weights.
        representation: the maps that it predicts.
        inferer: windows, padding, scale and the rest.
        intensity_percentiles: of the whole volume; become -1 and 1.
        intensity_gamma: exponent of the grey values in between.
        intensity_range: two grey values instead of the percentiles, which saves reading the volume for them.
        block: (z, y, x).
        workers: see `Schedule`.
        scheduler: see `Schedule`.
        shard: see `Schedule`.
        shards: see `Schedule`.
        decode: given the path of the maps and the schedule when all of them are there; None leaves it at the maps.
    """

    def __init__(
        self,
        image: str | Sequence[str],
        maps: str,
        network: nn.Module,
        model_path: str,
        representation: Representation,
        inferer: MapInferer,
        intensity_percentiles: Sequence[float] = (0.5, 99.5),
        intensity_gamma: float = 1.0,
        intensity_range: Sequence[float] | None = None,
        block: Sequence[int] = (128, 512, 512),
        workers: int = 1,
        scheduler: str | None = None,
        shard: int = 0,
        shards: int = 1,
        decode: BlockwiseDecoder | None = None,
    ) -> None:
        names = (["image"] if inferer.with_image else []) + representation.channel_names
        self.prediction = Prediction(inferer, network, names, intensity_percentiles, intensity_gamma, intensity_range)
        self.image, self.maps, self.block = image, Path(maps).expanduser(), block
        self.model_path, self.map_names = model_path, representation.names
        self.schedule = Schedule(workers, scheduler, shard, shards)
        self.decode = decode

    def run(self) -> None:
        """Predict what is not done, and decode when all is.

        Raises:
            InputError: see `predict_volume`, and for weights `load_weights`.
            SystemExit: other shards have to be done first; said, and the status is 75, as that of scripts.blockwise.
        """
        load_weights(self.prediction.network, self.model_path, self.map_names)
        self.prediction.network.eval()
        image = one_volume(self.image)
        volume = open_volume(image)
        inferer = for_voxel_size(self.prediction.inferer, volume.voxel_size, image)
        prediction = self.prediction._replace(inferer=inferer)
        if self.decode is not None:
            self.decode.check()
        try:
            predict_volume(image, self.maps, prediction, block=self.block, schedule=self.schedule)
            logger.info("%s: the maps are complete", self.maps)
            if self.decode is not None:
                self.decode(self.maps, self.schedule, inferer.voxel_factor)
            if is_lacking(absent := volume.absent):
                logger.warning("%s: %s; the maps and instances there mean nothing.", image, absent)
        except UnfinishedError as error:
            logger.warning("%s Give the same command again when they are done.", error)
            raise SystemExit(LATER) from error
