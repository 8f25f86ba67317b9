"""Boxes of a volume in the grey values that a model sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from scripts.blockwise.intensity import check_finite
from scripts.predictor import Predictor
from scripts.report.sections import parts_of
from scripts.transforms.intensity import GreyScale
from scripts.transforms.percentile import count_values, grey_ends
from scripts.volume_io import ChunkedVolume
from scripts.volume_io.grid import Box

__all__ = ["seen_by"]


def seen_by(predictor: Predictor, image: ChunkedVolume) -> Callable[[Box], MetaTensor]:
    """Return what reads a box as the network sees it, (1, 1, z, y, x) in [-1, 1], with the percentiles of the whole.

    Memory: 4 bytes per voxel of the box; the volume is read once, in parts, for its percentiles.

    Raises:
        InputError: all voxels have one value; or, by what is returned, NaN or infinite voxels in the box.
    """

    def survey(uppers: Sequence[int]) -> np.ndarray:
        return count_values((plane for _, part in parts_of(image) for plane in part), uppers)

    ends = grey_ends(survey, image.dtype, predictor.part("intensity_percentiles"), image.name)
    scale = GreyScale(*ends, predictor.part("intensity_gamma"))
    meta = {"filename_or_obj": image.name}
    size = {} if image.voxel_size is None else {"voxel_size": torch.tensor(image.voxel_size)}

    def see(box: Box) -> MetaTensor:
        voxels = image[box]
        check_finite(voxels, box, image.name)
        grey = scale(torch.from_numpy(voxels.astype(np.float32)))
        return MetaTensor(grey[None, None], meta={**meta, **size})

    return see
