"""The transform from a cleaned label to the maps to learn, and to the voxels where they count."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_numpy, ensure_tuple_rep
from scripts.refine.cleaning import UNSURE
from scripts.representation import Representation
from scripts.transforms import EncodeTargets

__all__ = ["EncodeSureTargetsd"]


class EncodeSureTargetsd(MapTransform):
    """Cleaned label (1, Z, Y, X), as `scripts.refine.Cleaning` makes it, to maps and to where they count.

    Instances that are not kept are drawn like others, because a neighbour's contour and distance depend on them. They
    do not count themselves.

    Args:
        keys: labels.
        output_keys: where the maps (C, Z, Y, X) go, float32, one for each key.
        known_keys: where 1 (counts) or 0 goes, (1, Z, Y, X), float32, one for each key.
        representation: what encodes the label.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection,
        known_keys: KeysCollection,
        representation: Representation,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        self.known_keys = ensure_tuple_rep(known_keys, len(self.keys))
        self.encode = EncodeTargets(representation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add maps and known voxels of every key."""
        result = dict(data)
        for key, output_key, known_key in self.key_iterator(result, self.output_keys, self.known_keys):
            label = result[key]
            cleaned = convert_to_numpy(label).astype(np.int32, copy=False)
            drawn = np.where(cleaned == UNSURE, 0, np.abs(cleaned))
            result[output_key] = self.encode(convert_to_dst_type(drawn, dst=label, dtype=np.int32)[0])
            result[known_key] = convert_to_dst_type(cleaned >= 0, dst=label, dtype=np.float32)[0]
        return result
