"""What the judge reads: crops of volumes without labels, and the shape of labelled objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing

from scripts.blockwise.intensity import check_finite
from scripts.check.array import check_contrast, check_label, check_sides
from scripts.inferer.physical import physical_scale
from scripts.judge.candidate import VolumeCrops
from scripts.judge.crop import COUNT, affordable, chosen_crops
from scripts.judge.evidence import whole_image
from scripts.judge.shape import solidity
from scripts.predictor import Predictor
from scripts.report.sections import parts_of
from scripts.volume_io import ChunkedVolume, list_volumes, open_volume
from scripts.volume_io.files import load

__all__ = ["labelled_solidity", "scale_of", "volume_crops"]


def volume_crops(
    image: str, size: Sequence[int] | None = None, count: int = COUNT, predictors: Sequence[Predictor] = ()
) -> VolumeCrops:
    """Choose the crops of a volume, and look at them. The file is read part by part.

    Memory: 4 bytes per voxel of the crops, parts of about 17 million voxels, and about 400 MB.

    Args:
        image: the file.
        size: of a crop (z, y, x) in voxels; None: see `affordable`.
        count: of crops at most.
        predictors: models that are to see the crops.

    Raises:
        InputError: the file is not as expected.
    """
    with closing(open_volume(image)) as volume:
        _check_image(volume)
        found = affordable(scale_of(one, volume) for one in predictors) if size is None else size
        boxes = chosen_crops(volume, found, count)
        return VolumeCrops(image, boxes, whole_image(volume, boxes))


def scale_of(predictor: Predictor, volume: ChunkedVolume) -> tuple[float, ...]:
    """Return the factors (z, y, x) by which a model scales a volume.

    Raises:
        InputError: voxels more than 20 times as large as training's.
    """
    inferer = predictor.part("inferer")
    return physical_scale(inferer.scale, inferer.training_voxel_size, volume.voxel_size, volume.name)


def _check_image(volume: ChunkedVolume) -> None:
    """See that a volume can be judged.

    Raises:
        InputError: a side too short, NaN or infinite voxels, or the same value everywhere.
    """
    check_sides(volume.shape, volume.name)
    ends = []
    for box, part in parts_of(volume):
        check_finite(part, box, volume.name)
        ends.append((part.min().item(), part.max().item()))
    low, high = zip(*ends, strict=True)
    check_contrast(min(low), max(high), volume.name)


def labelled_solidity(labels: str | Sequence[str]) -> float | None:
    """Return the solidity of labelled objects; None where there are no labels, or only objects too small for a shape.

    Memory: one whole label as it is stored, and 8 bytes per voxel.

    Args:
        labels: of X: a file, a pattern or a list.

    Raises:
        InputError: a file is missing or no label.
    """
    found = []
    for name in list_volumes(labels) if labels else ():
        array = load(name).array
        check_label(array, name)
        found.append(solidity(array))
    known = [value for value in found if not math.isnan(value)]
    return sum(known) / len(known) if known else None
