"""The crops of Y that a refinement learns from, with the labels that a model gives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from scripts.judge.consistency import predictor_of
from scripts.judge.crop import chosen_crops
from scripts.judge.grey import seen_by
from scripts.predictor import Predictor
from scripts.refine.cleaning import Cleaning, Kept
from scripts.volume_io import ChunkedVolume, list_volumes, open_volume
from scripts.volume_io.grid import Box

__all__ = ["SureCrops"]

Item = Mapping[str, Any]


class SureCrops:
    """Reads crops of Y, and labels them with the instances of a model that can be trusted.

    Memory: see `Cleaning`. Of a volume larger than `size` parts are read.

    Args:
        image: volumes of Y: a file, a pattern or a list.
        cleaning: which instances are kept.
        transform: of `image` and `label` of a crop, as X's volumes are resized.
        overlap: of windows while Y is segmented.
        count: crops of each volume that is larger than `size`, those with most contrast.
        size: of these, (z, y, x) in voxels of the file.
    """

    def __init__(
        self,
        image: Any,
        cleaning: Cleaning,
        transform: Callable[[Item], Item],
        overlap: float = 0.25,
        count: int = 4,
        size: Sequence[int] = (128, 512, 512),
    ) -> None:
        self.image, self.cleaning, self.transform = image, cleaning, transform
        self.overlap, self.count, self.size = overlap, count, tuple(size)

    def __call__(self, model: str | os.PathLike[str]) -> tuple[list[Item], Kept]:
        """Label all crops.

        Args:
            model: file of weights with their plan.

        Returns:
            `image` and `label` of each crop, transformed, see `Cleaning`; and what was kept.

        Raises:
            InputError: a volume is not as expected.
        """
        items, kept = self.cleaning(predictor := predictor_of(model, self.overlap), self._seen(predictor))
        return [self.transform(item) for item in items], kept

    def _seen(self, predictor: Predictor) -> Iterator[Any]:
        for name in list_volumes(self.image):
            with closing(open_volume(name)) as image:
                see = seen_by(predictor, image)
                yield from (see(box) for box in self._boxes(image))

    def _boxes(self, image: ChunkedVolume) -> list[Box]:
        z, y, x = image.shape
        if all(side <= most for side, most in zip(image.shape, self.size, strict=True)):
            return [(slice(0, z), slice(0, y), slice(0, x))]
        return chosen_crops(image, self.size, self.count)
