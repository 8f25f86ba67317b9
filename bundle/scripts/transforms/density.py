"""How densely objects lie, changed by their labels: what a discriminator could tell two domains apart by."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import fastremap
import numpy as np
from monai.config import NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type, convert_to_numpy
from scipy import ndimage as ndi
from scripts.errors import InputError

__all__ = ["RandDensity", "RandDensityd"]

# Mirrored copies that are tried to fill a volume. Each finds fewer free places than the one before: patches of the
# example pair's X, 16 x 64 x 64, have 14 % labelled voxels, 22 % after one copy, 37 % after six and 41 % after twelve.
_TRIALS = 6
# Share of an object that may lie behind others when it is put in. With 0 the same patches get to 26 % after six copies.
# With more, remnants are added that no longer have the shape of a nucleus.
_OVERLAP = 0.2
# Fewest voxels from which the background is estimated.
_FEWEST = 16


class RandDensity(RandomizableTransform):
    """Remove objects from a labelled volume, or put in more of its own, until they fill a share drawn from a range.

    Where X is denser than Y, the game between generators and discriminators is won by generators that delete objects,
    and where it is sparser by those that invent some, which the labels then contradict. Removed objects become the
    background around them, with its noise; added ones are copies of the volume's own, mirrored or turned in the plane
    (after Ghiasi et al., CVPR 2021). Not part of the published method.

    Args:
        share: lowest and highest share of labelled voxels asked for, 0 to 1. One that cannot be reached is approached.
        prob: how often a volume is changed at all.
        reach: voxels around an object, in the plane, that its light reaches and that are changed with it.
        haze: the most that stays of the light of what is removed, blurred, as from out of focus; 0 to 1.

    Raises:
        InputError: when the range is none.
    """

    def __init__(self, share: Sequence[float], prob: float = 1.0, reach: int = 2, haze: float = 0.0) -> None:
        super().__init__(prob)
        low, high = (float(value) for value in share)
        if not 0 <= low <= high <= 1:
            raise InputError(f"RandDensity: share is {share}; expected the lowest and the highest, from 0 to 1.")
        self.share, self.reach, self.haze = (low, high), reach, haze

    def __call__(  # type: ignore[override]
        self, image: NdarrayOrTensor, label: NdarrayOrTensor
    ) -> tuple[NdarrayOrTensor, NdarrayOrTensor]:
        """Change both.

        Args:
            image: (1, Z, Y, X), floats in [0, 1].
            label: the same shape, whole numbers.
        """
        self.randomize(None)
        if not self._do_transform:
            return image, label
        grey, ids = (convert_to_numpy(volume)[0] for volume in (image, label))
        wanted = self.R.uniform(*self.share)
        change = self._thinned if (ids > 0).mean() > wanted else self._filled
        grey, ids = change(grey.astype(np.float32), ids, wanted)
        pairs = ((grey, image), (ids, label))
        changed, numbered = (convert_to_dst_type(new[None], old, dtype=new.dtype)[0] for new, old in pairs)
        return changed, numbered

    def _thinned(self, image: np.ndarray, label: np.ndarray, wanted: float) -> tuple[np.ndarray, np.ndarray]:
        ids, sizes = np.unique(label[label > 0], return_counts=True)
        order = self.R.permutation(len(ids))
        # Objects go in a random order until the share is reached: by size, X would lose its small or large ones.
        left = sizes.sum() - np.cumsum(sizes[order])
        gone = ids[order[: int(np.searchsorted(-left, -wanted * label.size)) + 1]]
        removed = np.isin(label, gone)
        kept = np.where(removed, 0, label)
        around = _widened(removed, self.reach) & (kept == 0)
        # One voxel away from all objects, whose light is not background; in a crowded patch there may be no such place.
        ground = ~_widened(label > 0, 1)
        if ground.sum() < _FEWEST:
            ground = label == 0 if (label == 0).sum() >= _FEWEST else image <= np.quantile(image, 0.1)
        return np.where(around, self._background(image, ground), image).clip(0, 1), kept

    def _background(self, image: np.ndarray, ground: np.ndarray) -> np.ndarray:
        """What lies between the objects, carried on beneath them, with noise of the same strength."""
        sigma = (
            2.0,
            4.0,
            4.0,
        )  # wide enough to reach beneath a nucleus; sections are twice as thick as a voxel is wide
        weight = ndi.gaussian_filter(ground.astype(np.float32), sigma)
        mean = image[ground].mean()
        # Mean over the ground nearby. 0.01 leads to the mean of all where none is near, and keeps from dividing by 0.
        near = (ndi.gaussian_filter(np.where(ground, image, 0), sigma) + 0.01 * mean) / (weight + 0.01)
        steps = np.abs(np.diff(image))[ground[..., 1:] & ground[..., :-1]]
        # The deviation of normal noise is 1.05 = 1 / (0.6745 √2) times the median difference of neighbours. The
        # background changes little from voxel to voxel, and the median passes over what does.
        noise = 1.05 * float(np.median(steps)) if steps.size else 0.0
        haze = self.R.uniform(0, self.haze) * (ndi.gaussian_filter(image, (3.0, 6.0, 6.0)) - near)
        return near + np.maximum(haze, 0) + self.R.normal(0, noise, image.shape).astype(np.float32)

    def _filled(self, image: np.ndarray, label: np.ndarray, wanted: float) -> tuple[np.ndarray, np.ndarray]:
        # Numbered anew, so that further ids fit whatever type and range the label has.
        label = fastremap.renumber(np.ascontiguousarray(label), preserve_zero=True)[0].astype(np.int32)
        first, own = image, label
        for _ in range(_TRIALS):
            if (label > 0).mean() >= wanted:
                break
            other_image, other = self._mirrored(first, own)
            ids = self._fitting(label, other, wanted)
            if len(ids) == 0:
                continue
            added = np.isin(other, ids) & (label == 0)
            fresh = fastremap.renumber(np.where(added, other, 0), preserve_zero=True)[0].astype(np.int32)
            around = added | _widened(added, self.reach) & (label == 0)
            image = np.where(around, other_image, image)
            label = np.where(added, fresh + label.max(), label)
        return image, label

    def _mirrored(self, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # At least one axis, as a copy in its own place would be hidden by its original. Only y and x are exchanged, so
        # that sections stay sections.
        axes = tuple(int(axis) for axis in np.flatnonzero(self.R.random(3) < 0.5)) or (1,)
        image, label = np.flip(image, axes), np.flip(label, axes)
        if label.shape[1] == label.shape[2] and self.R.random() < 0.5:
            image, label = image.swapaxes(1, 2), label.swapaxes(1, 2)
        return image, label

    def _fitting(self, label: np.ndarray, other: np.ndarray, wanted: float) -> np.ndarray:
        """Ids of `other` that lie free, as many as are wanted."""
        ids, inverse = np.unique(other, return_inverse=True)
        inverse = inverse.reshape(other.shape)
        sizes = np.bincount(inverse.ravel())
        hidden = np.bincount(inverse.ravel(), label.ravel() > 0, len(ids))
        free = np.flatnonzero((ids > 0) & (hidden <= _OVERLAP * sizes))
        free = self.R.permutation(free)  # else the first ids, which are the first sections', would always be taken
        room = wanted * label.size - np.count_nonzero(label)
        return ids[free[: int(np.searchsorted(np.cumsum(sizes[free]), room)) + 1]]


class RandDensityd(RandomizableTransform, MapTransform):
    """Dictionary version of `RandDensity`.

    Args:
        share: see `RandDensity`.
        prob: see `RandDensity`.
        image_key: key of the image.
        label_key: key of the label; a dictionary without it is passed on.
        reach: see `RandDensity`.
        haze: see `RandDensity`.
    """

    def __init__(
        self,
        share: Sequence[float],
        prob: float = 1.0,
        image_key: str = "image",
        label_key: str = "label",
        reach: int = 2,
        haze: float = 0.0,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, [image_key, label_key], allow_missing_keys=True)
        self.density = RandDensity(share, 1.0, reach, haze)
        self.image_key, self.label_key = image_key, label_key

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandDensityd:
        """Seed both, this and the array version."""
        super().set_random_state(seed, state)
        self.density.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change image and label."""
        result = dict(data)
        self.randomize(None)
        if self._do_transform and self.label_key in result:
            pair = self.density(result[self.image_key], result[self.label_key])
            result[self.image_key], result[self.label_key] = pair
        return result


def _widened(mask: np.ndarray, reach: int) -> np.ndarray:
    """Dilated in the plane by a diamond of `reach` voxels."""
    return ndi.binary_dilation(mask, ndi.generate_binary_structure(2, 1)[None], iterations=reach)
