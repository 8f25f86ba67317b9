"""A volume split in two: a part to train on, and a part to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import MapTransform
from scripts.errors import InputError

__all__ = ["HoldOutd"]


class HoldOutd(MapTransform):
    """Split a volume in two along its longest side: `part="train"` is what comes first, `part="validation"` the rest.

    (C, Z, Y, X) to a view of it, the two parts without overlap; no voxel is copied.

    Args:
        keys: volumes to split, all of one shape.
        fraction: share of the side that is held out, 0 to 0.5.
        part: "train" or "validation".
        min_size: the least length (Z, Y, X) of the held-out part, where the volume is long enough for it.
    """

    def __init__(
        self,
        keys: Sequence[str] | str = ("image", "label"),
        fraction: float = 0.1,
        part: str = "train",
        min_size: Sequence[int] = (1, 1, 1),
    ) -> None:
        super().__init__(keys)
        if part not in ("train", "validation") or not 0 <= fraction <= 0.5:
            raise InputError(
                f"HoldOutd: part {part!r}, fraction {fraction}: expected train or validation, and 0 to 0.5."
            )
        self.fraction, self.part, self.min_size = fraction, part, tuple(min_size)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return `data` with every key cut to the part."""
        result = dict(data)
        for key in self.key_iterator(result):
            volume = result[key]
            axis = int(np.argmax(volume.shape[1:]))
            length = volume.shape[axis + 1]
            held_out = min(max(round(length * self.fraction), self.min_size[axis]), length // 2) if self.fraction else 0
            cut = length - held_out
            span = slice(0, cut) if self.part == "train" else slice(cut if held_out else 0, length)
            result[key] = volume[(slice(None),) * (axis + 1) + (span,)]
        return result
