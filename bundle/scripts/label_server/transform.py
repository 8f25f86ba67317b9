"""What inference does for MONAI Label alone: geometry it can write, and instances as its one label volume."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import fastremap
import nibabel
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_data_type, ensure_tuple_rep
from scripts.command.flag import flag
from scripts.errors import InputError

__all__ = ["CheckGeometryd", "InstanceResultd", "file_order", "holding_type"]

logger = logging.getLogger(__name__)
_REVERSED = [2, 1, 0, 3]
_WRITABLE = ("uint8", "uint16", "uint32")


class CheckGeometryd(MapTransform):
    """Look at the place of a volume in the world, (1, Z, Y, X) with meta data, before it is segmented.

    Permuted axes are told in the log, since sections are always taken along the file's third axis.

    Args:
        keys: the images.

    Raises:
        InputError: by calling it, where the axes are not at right angles: MONAI Label's writer would bend them.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` as it is."""
        for key in self.key_iterator(data):
            meta = data[key].meta
            _check_affine(np.asarray(meta["affine"])[:, _REVERSED], str(meta.get("filename_or_obj", key)))
        return dict(data)


class InstanceResultd(MapTransform):
    """Make instances the one label volume that MONAI Label's writer takes, in the order of axes of the file.

    Its writer, as MONAI's own readers, has arrays (1, X, Y, Z). Beside the label it puts the number of instances into
    `result`, which the client is given, and sees that the integer type asked for holds them: 3D Slicer always asks
    for uint8, in which 256 would become background.

    Memory: views, no copy; 1 byte per voxel where `instances` is false.

    Args:
        keys: the instances, (1, Z, Y, X), integers.
        output_keys: where the label goes, what metadata.json names as the first output.
        image_key: the image, whose meta data say where the label is.
        instances: true: a number for each, as the decoder gave them; false: 1 for all of them, for clients that show
            the labels advertised and no other.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection = "pred",
        image_key: str = "image",
        instances: bool | str = True,
    ) -> None:
        super().__init__(keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        self.image_key, self.instances = image_key, flag(instances, "instances")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add label, result and type; turn the image as well, which the writer compares with."""
        result = dict(data)
        result[self.image_key] = file_order(data[self.image_key])
        for key, output_key in self.key_iterator(result, self.output_keys):
            label = result[key]
            ids = fastremap.unique(convert_data_type(label, np.ndarray)[0])
            label = label if self.instances else (label > 0).to(torch.uint8)
            result[output_key] = file_order(label)
            result["result"] = {"instances": int(np.count_nonzero(ids))}
            result["result_dtype"] = holding_type(result.get("result_dtype"), int(ids[-1]) if self.instances else 1)
        return result


def file_order(volume: MetaTensor) -> MetaTensor:
    """Return (1, Z, Y, X) as (1, X, Y, Z), a view, with the affine and shape of that order in its meta data."""
    turned: Any = volume.permute(0, 3, 2, 1)
    affine = convert_data_type(volume.meta["affine"], np.ndarray)[0][:, _REVERSED]
    turned.meta = {
        **volume.meta,
        "affine": torch.as_tensor(affine),
        "original_affine": affine,
        "spatial_shape": np.asarray(turned.shape[1:]),
    }
    return turned


def holding_type(wanted: str | None, largest: int) -> str:
    """Return the name of the integer type asked for, or where it cannot hold `largest`, of one that does.

    >>> holding_type("uint8", 255), holding_type("uint8", 256), holding_type(None, 3)
    ('uint8', 'uint16', 'uint16')
    """
    if wanted is None:
        wanted = "uint16"
    if np.dtype(wanted).kind not in "iu" or np.iinfo(wanted).max >= largest:
        return wanted
    fitting = next(name for name in _WRITABLE if np.iinfo(name).max >= largest)
    logger.warning("Ids up to %d do not fit into %s, which was asked for; written as %s.", largest, wanted, fitting)
    return fitting


def _check_affine(affine: np.ndarray, name: str) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / np.where(lengths > 0, lengths, 1)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4):
        raise InputError(
            f"{name}: the axes of its affine are not at right angles, which MONAI Label would not write back. Expected "
            "axes turned, flipped or exchanged at most. Resample it, or segment it by the command line."
        )
    codes = "".join(nibabel.aff2axcodes(affine))
    if codes[2] not in "SI":
        logger.warning(
            "%s: orientation %s, so its third axis is not the z of the world. It is segmented as it is stored, its "
            "sections being the planes of the third axis; if they are not, save it with its sections along that axis.",
            name,
            codes,
        )
