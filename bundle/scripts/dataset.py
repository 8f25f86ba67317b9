"""Random patches of a labelled source and an unlabelled target, from volumes that are read once and never copied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable
from torch.utils.data import Dataset

from scripts.errors import InputError
from scripts.volume_io import list_volumes

__all__ = ["HoldOutd", "PatchPairs", "PatchSampler", "volume_items"]

logger = logging.getLogger(__name__)


def volume_items(image: str | Sequence[str], label: str | Sequence[str] | None = None) -> list[dict[str, str]]:
    """List the volumes of a domain as MONAI's datasets want them.

    Args:
        image: a file, a pattern or a list of these.
        label: the labels, in the same order; None for an unlabelled domain.

    Raises:
        InputError: nothing found, or another number of labels than images.
    """
    images = list_volumes(image)
    if label is None:
        return [{"image": name} for name in images]
    labels = list_volumes(label)
    if len(images) != len(labels):
        raise InputError(
            f"{len(images)} images and {len(labels)} labels: expected one label for each image, in the same order. "
            f"Found {images} and {labels}."
        )
    return [{"image": i, "label": m} for i, m in zip(images, labels, strict=True)]


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
        self, keys: Sequence[str] | str, fraction: float = 0.1, part: str = "train", min_size: Sequence[int] = (1, 1, 1)
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


class PatchSampler(Randomizable):
    """Draws random patches from a list of volumes; a volume is drawn in proportion to its number of patch positions.

    Args:
        volumes: each a dictionary of arrays (1, Z, Y, X): `image`, and `label` where patches are chosen by labels.
        patch_size: (Z, Y, X). Smaller volumes are padded by reflection, once, when the sampler is made.
        min_foreground: labelled voxels below which a patch is drawn again with `reject_probability`.
        reject_probability: see `min_foreground`.
        foreground_share: (lowest, highest): a share is drawn evenly from this range and, of `candidates` random
            patches, the one nearest to it is taken, so that source patches span what the target may hold. None: any
            patch.
        candidates: see `foreground_share`.
        max_trials: bound on redraws by `min_foreground`; the last patch is then taken as it is.

    Memory: the volumes themselves; a padded volume is copied.
    """

    def __init__(
        self,
        volumes: Sequence[Mapping[str, Any]],
        patch_size: Sequence[int],
        min_foreground: int = 0,
        reject_probability: float = 0.9,
        foreground_share: Sequence[float] | None = None,
        candidates: int = 32,
        max_trials: int = 50,
    ) -> None:
        if len(volumes) == 0:
            raise InputError(
                "no volume to draw patches from: expected at least one image; name it in the configuration."
            )
        self.patch_size = tuple(patch_size)
        self.volumes = [self._fit(volume) for volume in volumes]
        positions = np.array([np.prod(self._room(v), dtype=float) for v in self.volumes])
        self.odds = positions / positions.sum()
        self.min_foreground, self.reject_probability = min_foreground, reject_probability
        self.foreground_share, self.candidates, self.max_trials = foreground_share, candidates, max_trials

    def draw(self) -> dict[str, np.ndarray]:
        """Return views of one patch, each (Z, Y, X)."""
        if self.foreground_share is not None:
            lowest, highest = self.foreground_share
            wanted = self.R.uniform(lowest, highest)
            patches = [self._any() for _ in range(self.candidates)]
            return min(patches, key=lambda patch: abs(float((patch["label"] > 0).mean()) - wanted))
        for _ in range(self.max_trials):
            patch = self._any()
            if not self.min_foreground or int((patch["label"] > 0).sum()) >= self.min_foreground:
                return patch
            if self.R.uniform() >= self.reject_probability:
                return patch
        return patch

    def _fit(self, volume: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arrays = {key: np.asarray(volume[key])[0] for key in ("image", "label") if key in volume}
        shape = arrays["image"].shape
        if any(n < p for n, p in zip(shape, self.patch_size, strict=True)):
            name = getattr(volume["image"], "meta", {}).get("filename_or_obj", "a volume")
            text = "%s: shape %s (z, y, x) of what is trained on is below the patch %s; padded by reflection."
            logger.warning(text, name, shape, self.patch_size)
        return {key: _fitted(array, self.patch_size) for key, array in arrays.items()}

    def _any(self) -> dict[str, np.ndarray]:
        volume = self.volumes[self.R.choice(len(self.volumes), p=self.odds)]
        start = [self.R.randint(room) for room in self._room(volume)]
        window = tuple(slice(s, s + p) for s, p in zip(start, self.patch_size, strict=True))
        return {key: array[window] for key, array in volume.items()}

    def _room(self, volume: Mapping[str, np.ndarray]) -> list[int]:
        return [n - p + 1 for n, p in zip(volume["image"].shape, self.patch_size, strict=True)]


class PatchPairs(Randomizable, Dataset):
    """Pairs of one random source patch and one random target patch, as the trainer wants them.

    An item is `transform` of {`image_x`, `label_x`, `image_y`}, arrays (1, Z, Y, X): images float32 in the range that
    the volumes were scaled to, labels in their own integer type. Items are random: the index only counts them. MONAI's
    DataLoader gives every worker its own stream, derived from torch's seed.

    Args:
        source: dictionaries with `image` and `label`, each (1, Z, Y, X); any sequence, a CacheDataset for instance.
        target: dictionaries with `image`.
        patch_size: (Z, Y, X).
        length: number of pairs that one pass over the dataset yields.
        transform: random augmentation and target encoding of the dictionary.
        **sampling: `min_foreground`, `foreground_share` and so on of the source's `PatchSampler`.
    """

    def __init__(
        self,
        source: Sequence[Mapping[str, Any]],
        target: Sequence[Mapping[str, Any]],
        patch_size: Sequence[int],
        length: int,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        **sampling: Any,
    ) -> None:
        self.source = PatchSampler([source[i] for i in range(len(source))], patch_size, **sampling)
        self.target = PatchSampler([target[i] for i in range(len(target))], patch_size)
        self.length = length
        self.transform = transform
        self.set_random_state(seed=torch.initial_seed() % 2**32)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> PatchPairs:
        """Seed the samplers and the transform, each with its own stream derived from `seed`."""
        super().set_random_state(seed, state)
        for part in (self.source, self.target, self.transform):
            if isinstance(part, Randomizable):
                part.set_random_state(seed=int(self.R.randint(2**31)))
        return self

    def __len__(self) -> int:
        """Return the number of pairs in one pass."""
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one random pair; `index` bounds the pass and is not used otherwise."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        x, y = self.source.draw(), self.target.draw()
        pair = {
            "image_x": torch.as_tensor(x["image"][None].astype(np.float32)),
            "label_x": x["label"][None].copy(),
            "image_y": torch.as_tensor(y["image"][None].astype(np.float32)),
        }
        # Not `if self.transform`: the truth of a Compose is its length, and asking for that seeds all its parts anew.
        return pair if self.transform is None else self.transform(pair)


def _fitted(array: np.ndarray, patch_size: Sequence[int]) -> np.ndarray:
    """Pad (Z, Y, X) by reflection where it is smaller than the patch."""
    missing = [max(0, p - n) for n, p in zip(array.shape, patch_size, strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(m // 2, m - m // 2) for m in missing], mode="symmetric")
