"""Which of a model's own instances of Y can be trusted as labels, and which voxels say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from monai.utils import convert_to_numpy
from scripts.errors import InputError
from scripts.judge.consistency import compared, decoding, maps_of, perturbed_maps
from scripts.judge.perturbation import PERTURBATIONS, Perturbation
from scripts.predictor import Predictor

__all__ = ["UNSURE", "Cleaning", "Kept"]

UNSURE = -1
"""In a cleaned label: background that may hold an object. Ids begin at 2."""


@dataclass(frozen=True)
class Kept:
    """What a cleaning kept.

    Attributes:
        found: instances before.
        sizes: (K,) voxels of each instance that was kept.
    """

    COLUMNS: ClassVar = ("kept", "found", "smallest", "median", "largest")
    found: int
    sizes: np.ndarray

    def row(self) -> dict[str, float]:
        """Return the columns of refine.csv; sizes are 0 where nothing was kept."""
        sizes = self.sizes if len(self.sizes) else np.zeros(1, int)
        values = (len(self.sizes), self.found, int(sizes.min()), float(np.median(sizes)), int(sizes.max()))
        return dict(zip(self.COLUMNS, values, strict=True))

    def __str__(self) -> str:
        """One line for the log."""
        row = self.row()
        return (
            f"{row['kept']} of {self.found} instances ({100 * self.share:.0f} %) can be trusted, "
            f"of {row['smallest']} to {row['largest']} voxels, median {row['median']:.0f}"
        )

    @property
    def share(self) -> float:
        """From 0 to 1; 0 where nothing was found."""
        return len(self.sizes) / self.found if self.found else 0.0


@dataclass(frozen=True)
class _Crop:
    """A crop as it was segmented: of each instance its id, its size, and whether it was found again."""

    image: torch.Tensor
    instances: np.ndarray
    unsure: np.ndarray
    ids: np.ndarray
    sizes: np.ndarray
    again: np.ndarray


@dataclass(frozen=True)
class Cleaning:
    """The rule by which instances are kept.

    An instance is kept if it is found again under every change, and if its size is near the median. What is not kept,
    and background that the foreground map is unsure about, is left out of the loss. It is not drawn as background.

    Args:
        changes: names of perturbations, see `scripts.judge.perturbation.PERTURBATIONS`.
        iou: intersection over union from which an instance counts as found again.
        sizes: smallest and largest size, in medians of all instances that were found again.
        unsure: value of the foreground map, 0 to 1, above which background is left out.

    Raises:
        InputError: a change that is not known, or a number out of range.
    """

    changes: Sequence[str] = ("gamma 0.8", "gamma 1.25")
    iou: float = 0.6
    sizes: Sequence[float] = (0.25, 3.5)
    unsure: float = 0.3

    def __post_init__(self) -> None:
        """Reject values that cannot be."""
        known = [one.name for one in PERTURBATIONS]
        if unknown := [name for name in self.changes if name not in known]:
            raise InputError(f"cleaning: found the change {unknown[0]}, expected some of {', '.join(known)}.")
        is_range = len(self.sizes) == 2 and 0 <= self.sizes[0] < self.sizes[1]
        if not (self.changes and 0 <= self.iou < 1 and is_range and 0 <= self.unsure <= 1):
            found = f"{len(self.changes)} changes, iou {self.iou}, sizes {list(self.sizes)}, unsure {self.unsure}"
            raise InputError(
                f"cleaning: found {found}, expected 1 or more changes, an iou below 1, sizes [low, high], and unsure "
                "from 0 to 1."
            )

    def __call__(self, predictor: Predictor, crops: Iterable[Any]) -> tuple[list[dict[str, torch.Tensor]], Kept]:
        """Segment crops of Y, and clean what is found.

        Memory: 40 bytes per voxel of one crop while it is segmented, and 7 bytes per voxel of each crop.

        Args:
            predictor: the model, see `scripts.judge.consistency.predictor_of`.
            crops: each (1, 1, Z, Y, X) in [-1, 1].

        Returns:
            For each crop `image` (1, Z, Y, X), float16 in [0, 1], and `label` (1, Z, Y, X), int32: ids from 2 on for
            what is kept, the negative id for what is not, `UNSURE` or 0 for background. And what was kept of all.
        """
        found = [self._segment(predictor, crop) for crop in crops]
        again = np.concatenate([one.sizes[one.again] for one in found])
        median = float(np.median(again)) if len(again) else 0.0
        kept = [self._is_kept(one, median) for one in found]
        items = [{"image": one.image, "label": _label(one, is_kept)} for one, is_kept in zip(found, kept, strict=True)]
        sizes = np.concatenate([one.sizes[is_kept] for one, is_kept in zip(found, kept, strict=True)])
        return items, Kept(sum(len(one.ids) for one in found), sizes)

    def _segment(self, predictor: Predictor, crop: Any) -> _Crop:
        maps = maps_of(predictor, crop)
        found = compared(maps, perturbed_maps(predictor, crop, self._perturbations), decoding(predictor))
        names = predictor.part("representation").names
        foreground = convert_to_numpy(maps)[names.index("foreground")] if "foreground" in names else 0
        unsure = (foreground > 255 * self.unsure) & (found.instances == 0)
        image = ((torch.as_tensor(crop)[0].cpu() + 1) / 2).half()
        sizes = np.unique(found.instances[found.instances > 0], return_counts=True)[1]
        return _Crop(image, found.instances, unsure, found.ids, sizes, found.iou.min(axis=1) > self.iou)

    @property
    def _perturbations(self) -> list[Perturbation]:
        return [one for one in PERTURBATIONS if one.name in self.changes]

    def _is_kept(self, crop: _Crop, median: float) -> np.ndarray:
        low, high = (bound * median for bound in self.sizes)
        return crop.again & (crop.sizes >= low) & (crop.sizes <= high)


def _label(crop: _Crop, is_kept: np.ndarray) -> torch.Tensor:
    """The cleaned label (1, Z, Y, X) of a crop."""
    numbers = np.arange(2, len(crop.ids) + 2, dtype=np.int32)
    values = np.concatenate([np.zeros(1, np.int32), np.where(is_kept, numbers, -numbers)])
    label = values[np.where(crop.instances > 0, np.searchsorted(crop.ids, crop.instances) + 1, 0)]
    label[crop.unsure] = UNSURE
    return torch.from_numpy(label.astype(np.int32, copy=False))[None]
