"""Array and dictionary transforms around the representation (label to maps) and the decoder (maps to instances)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy, ensure_tuple_rep
from scripts.errors import InputError
from scripts.representation import Representation
from scripts.watershed.stage import stage_bar

__all__ = ["DecodeInstances", "DecodeInstancesd", "EncodeTargets", "EncodeTargetsd"]


class EncodeTargets(Transform):
    """Instance label (1, Z, Y, X) to target maps (C, Z, Y, X), float32; meta data are kept.

    Args:
        representation: what encodes the label.
    """

    def __init__(self, representation: Representation) -> None:
        self.representation = representation

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """Encode one label; whole numbers may come as floats, as MONAI loads them.

        Raises:
            InputError: when the label has not one channel, or holds fractions or negative numbers.
        """
        array = convert_to_numpy(label)
        if array.ndim != 4 or array.shape[0] != 1:
            raise InputError(f"label to encode: found shape {tuple(array.shape)}, expected (1, Z, Y, X).")
        maps = self.representation.encode(_whole_numbers(array[0]))
        return convert_to_dst_type(maps, dst=label, dtype=np.float32)[0]


class EncodeTargetsd(MapTransform):
    """Dictionary form of :class:`EncodeTargets`.

    Args:
        keys: labels to encode.
        output_keys: where the maps go, one for each key.
        representation: what encodes the label.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection,
        representation: Representation,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        self.encode = EncodeTargets(representation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps of every key."""
        result = dict(data)
        for key, output_key in self.key_iterator(result, self.output_keys):
            result[output_key] = self.encode(result[key])
        return result


class DecodeInstances(Transform):
    """Maps (C, Z, Y, X) in [0, 1] to an instance label (1, Z, Y, X), int32 (int64 for larger ids); meta data are kept.

    Where `MapInferer` saw the volume at its own scale, the sizes of the decoder are for that volume, by `for_voxels`.

    Args:
        decoder: maps (C, Z, Y, X) to labels (Z, Y, X), for example ``scripts.watershed.BCDWatershed``.
        progress: show a bar over the decoder's stages, which it must then report to ``on_stage``.
    """

    def __init__(self, decoder: Callable[..., np.ndarray], progress: bool = False) -> None:
        self.decoder, self.progress = decoder, progress

    def __call__(self, maps: NdarrayOrTensor) -> NdarrayOrTensor:
        """Decode one volume."""
        array = convert_to_numpy(maps)
        factor, decoder = getattr(maps, "meta", {}).get("voxel_factor"), self.decoder
        if (
            factor is not None
            and float(factor) != 1
            and (for_voxels := getattr(decoder, "for_voxels", None)) is not None
        ):
            decoder = for_voxels(float(factor))
        if self.progress:
            with stage_bar() as on_stage:
                labels = decoder(array, on_stage=on_stage)
        else:
            labels = decoder(array)
        fits = not labels.size or int(labels.max()) <= np.iinfo(np.int32).max
        return convert_to_dst_type(labels[None], dst=maps, dtype=np.int32 if fits else np.int64)[0]


class DecodeInstancesd(MapTransform):
    """Dictionary form of :class:`DecodeInstances`.

    Args:
        keys: maps to decode.
        output_keys: where the labels go, one for each key.
        decoder: maps (C, Z, Y, X) to labels (Z, Y, X).
        allow_missing_keys: pass over keys that are not there.
        progress: show a bar over the decoder's stages.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection,
        decoder: Callable[..., np.ndarray],
        allow_missing_keys: bool = False,
        progress: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        self.decode = DecodeInstances(decoder, progress)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the instances of every key."""
        result = dict(data)
        for key, output_key in self.key_iterator(result, self.output_keys):
            result[output_key] = self.decode(result[key])
        return result


def _whole_numbers(label: np.ndarray) -> np.ndarray:
    """The label as integers, exactly."""
    if label.dtype.kind in "iu":
        return label
    whole = label.astype(np.int64)
    if not np.array_equal(whole, label):
        raise InputError(f"label to encode: found fractions in {label.dtype}, expected whole numbers.")
    return whole.astype(np.int32) if whole.size and whole.max() < 2**31 else whole
