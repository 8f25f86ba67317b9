"""What the random transforms have in common: one draw for a volume, and for all keys of a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform, Randomizable, RandomizableTransform
from monai.utils import convert_to_dst_type, convert_to_numpy
from scripts.errors import InputError

__all__ = ["RandVolume", "RandVolumed"]


class RandVolume(RandomizableTransform):
    """Random transform of volumes (C, Z, Y, X), arrays or tensors; kind, type and meta data are kept.

    A class of its own says in `draw` what is left to chance and in `apply` what is done with it.

    Args:
        prob: how often a volume is changed at all.
    """

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw from `self.R` what `apply` needs for a volume of this shape (C, Z, Y, X)."""
        raise NotImplementedError

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Return the changed volume; the one given stays as it is."""
        raise NotImplementedError

    def randomize(self, data: Sequence[int]) -> None:
        """Draw for a volume of shape `data`, (C, Z, Y, X).

        Raises:
            InputError: when that is not the shape of a volume.
        """
        if len(data) != 4:
            raise InputError(f"{type(self).__name__}: found shape {tuple(data)}, expected (C, Z, Y, X).")
        super().randomize(None)
        if self._do_transform:
            self.draw(tuple(data))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return `img`, changed or as it is; `randomize=False` repeats the last draw on a volume of the same shape."""
        if randomize:
            self.randomize(img.shape)
        if not self._do_transform:
            return img
        return convert_to_dst_type(self.apply(convert_to_numpy(img)), dst=img)[0]


class RandVolumed(MapTransform, Randomizable):
    """Dictionary form of a :class:`RandVolume`: all keys, which have one shape, are changed by the same draw.

    Args:
        keys: volumes to change.
        prob: how often they are changed.
        allow_missing_keys: pass over keys that are not there.
        **options: those of the array transform.
    """

    array: ClassVar[Callable[..., RandVolume]]

    def __init__(
        self, keys: KeysCollection, prob: float = 0.5, allow_missing_keys: bool = False, **options: Any
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = type(self).array(prob=prob, **options)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandVolumed:
        """Seed the array transform, which alone draws."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(state=self.R)
        return self

    def randomize(self, data: Sequence[int]) -> None:
        """Draw for volumes of shape `data`, (C, Z, Y, X)."""
        self.transform.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change every key.

        Raises:
            InputError: when the volumes differ in (Z, Y, X).
        """
        result = dict(data)
        shapes = {key: tuple(result[key].shape) for key in self.key_iterator(result)}
        if len({shape[1:] for shape in shapes.values()}) > 1:
            raise InputError(f"{type(self).__name__}: found shapes {shapes}, expected volumes of one shape (Z, Y, X).")
        if shapes:
            self.randomize(next(iter(shapes.values())))
        for key in shapes:
            result[key] = self.transform(result[key], randomize=False)
        return result
