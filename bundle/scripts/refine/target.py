"""The transform from a cleaned label to the maps to learn, and to the voxels where they count."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.utils import convert_to_dst_type, convert_to_numpy, ensure_tuple_rep
from scripts.refine.cleaning import UNSURE
from scripts.transforms import EncodeTargetsd

__all__ = ["EncodeSureTargetsd"]


class EncodeSureTargetsd(EncodeTargetsd):
    """Cleaned label (1, Z, Y, X), as `scripts.refine.Cleaning` makes it, to maps and to where they count.

    Instances that are not kept are drawn like others, because a neighbour's contour and distance depend on them. They
    do not count themselves.

    Args:
        keys: labels. They are replaced by what is drawn.
        known_keys: where 1 (counts) or 0 goes, (1, Z, Y, X), float32, one for each key.
        **options: of `EncodeTargetsd`.
    """

    def __init__(self, keys: KeysCollection, known_keys: KeysCollection, **options: Any) -> None:
        super().__init__(keys, **options)
        self.known_keys = ensure_tuple_rep(known_keys, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add maps and known voxels of every key."""
        result = dict(data)
        for key, known_key in self.key_iterator(result, self.known_keys):
            label = result[key]
            cleaned = convert_to_numpy(label).astype(np.int32, copy=False)
            result[key] = convert_to_dst_type(np.where(cleaned == UNSURE, 0, np.abs(cleaned)), label, np.int32)[0]
            result[known_key] = convert_to_dst_type(cleaned >= 0, label, np.float32)[0]
        return super().__call__(result)
