"""Grey values of one domain given to the other: the simplest adaptation, as a baseline."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy
from scripts.errors import InputError

__all__ = ["MatchHistogram", "MatchHistogramd"]

_QUANTILES = np.linspace(0, 1, 1025)
_SAMPLED = 4_000_000  # voxels that quantiles are taken from, evenly spaced


class MatchHistogram(Transform):
    """Map the grey values of a volume (C, Z, Y, X) so that their histogram is that of other volumes.

    The map joins 1,025 quantiles by straight lines; it is monotonous, so that no edge is lost or inverted.

    Memory: the volume in float64 and the output.

    Args:
        reference: volumes whose histogram is wanted, any shape; of several, the mean of their quantiles.

    Raises:
        InputError: no volume, or one without contrast.
    """

    def __init__(self, reference: Sequence[NdarrayOrTensor]) -> None:
        if not len(reference):
            raise InputError("MatchHistogram: no reference volume; expected one or more of the target domain.")
        self.wanted = np.mean([_quantiles(volume) for volume in reference], axis=0)
        if self.wanted[0] == self.wanted[-1]:
            raise InputError(f"MatchHistogram: the reference has only the value {self.wanted[0]}; expected an image.")

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the volume with the wanted grey values, in its own type; meta data are kept."""
        grey = convert_to_numpy(volume)
        found, first = np.unique(_quantiles(grey), return_index=True)
        matched = np.interp(grey, found, self.wanted[first])
        return convert_to_dst_type(matched, volume)[0]


class MatchHistogramd(MapTransform):
    """Dictionary form of :class:`MatchHistogram`.

    Args:
        keys: volumes to map.
        reference: dataset whose items hold the reference under `reference_key`; read at the first call.
        reference_key: see there.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference: Sequence[Mapping[str, Any]],
        reference_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference, self.reference_key = reference, reference_key
        self.match: MatchHistogram | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Map the volume of every key."""
        if self.match is None:
            items = (self.reference[i] for i in range(len(self.reference)))
            self.match = MatchHistogram([item[self.reference_key] for item in items])
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.match(result[key])
        return result


def _quantiles(volume: NdarrayOrTensor) -> np.ndarray:
    grey = convert_to_numpy(volume).ravel()
    return np.quantile(grey[:: max(1, grey.size // _SAMPLED)].astype(np.float32), _QUANTILES)
