"""Random patches of a labelled source and an unlabelled target, from volumes that are read once and never copied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable
from scripts.errors import InputError
from torch.utils.data import Dataset

__all__ = ["PatchPairs", "PatchSampler"]

logger = logging.getLogger(__name__)


class PatchSampler(Randomizable):
    """Draws random patches from a list of volumes; a volume is drawn in proportion to its number of patch positions.

    Args:
        volumes: each a dictionary of arrays (1, Z, Y, X): `image`, and `label` where patches are chosen by labels.
        patch_size: (Z, Y, X).
        sample_size: (Z, Y, X) of what is drawn, a patch with a margin around it; default: the patch alone. Smaller
            volumes are padded by reflection, once, when the sampler is made.
        foreground_share: (lowest, highest): a share is drawn evenly from this range and, of `candidates` random
            patches, the one nearest to it is taken, so that source patches span what the target may hold. None: any
            patch.
        candidates: see `foreground_share`.

    Memory: the volumes themselves; a padded volume is copied.
    """

    def __init__(
        self,
        volumes: Sequence[Mapping[str, Any]],
        patch_size: Sequence[int],
        sample_size: Sequence[int] | None = None,
        foreground_share: Sequence[float] | None = None,
        candidates: int = 32,
    ) -> None:
        if len(volumes) == 0:
            raise InputError(
                "no volume to draw patches from: expected at least one image; name it in the configuration."
            )
        self.patch_size = tuple(patch_size)
        self.sample_size = tuple(sample_size or patch_size)
        if any(sample < patch for sample, patch in zip(self.sample_size, self.patch_size, strict=True)):
            raise InputError(f"sample_size {self.sample_size}: expected no less than patch_size, {self.patch_size}.")
        self.volumes = [self._fit(volume) for volume in volumes]
        positions = np.array([np.prod(self._room(v), dtype=float) for v in self.volumes])
        self.odds = positions / positions.sum()
        self.foreground_share, self.candidates = foreground_share, candidates

    def draw(self) -> dict[str, np.ndarray]:
        """Return views of one sample, each (Z, Y, X)."""
        if self.foreground_share is None:
            return self._any()
        lowest, highest = self.foreground_share
        wanted = self.R.uniform(lowest, highest)
        return min((self._any() for _ in range(self.candidates)), key=lambda sample: abs(self._share(sample) - wanted))

    def _share(self, sample: Mapping[str, np.ndarray]) -> float:
        """Share of labelled voxels in the patch in the middle of a sample."""
        starts = [(n - p) // 2 for n, p in zip(self.sample_size, self.patch_size, strict=True)]
        window = tuple(slice(s, s + p) for s, p in zip(starts, self.patch_size, strict=True))
        return float((sample["label"][window] > 0).mean())

    def _fit(self, volume: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arrays = {key: np.asarray(volume[key])[0] for key in ("image", "label") if key in volume}
        shape = arrays["image"].shape
        below = {"patch": self.patch_size, "sample": self.sample_size}
        for what, size in below.items():
            if any(n < p for n, p in zip(shape, size, strict=True)):
                name = getattr(volume["image"], "meta", {}).get("filename_or_obj", "a volume")
                text = "%s: shape %s (z, y, x) of what is trained on is below the %s %s; padded by reflection."
                logger.log(logging.WARNING if what == "patch" else logging.INFO, text, name, shape, what, size)
                break
        return {key: _fitted(array, self.sample_size) for key, array in arrays.items()}

    def _any(self) -> dict[str, np.ndarray]:
        volume = self.volumes[self.R.choice(len(self.volumes), p=self.odds)]
        start = [self.R.randint(room) for room in self._room(volume)]
        window = tuple(slice(s, s + p) for s, p in zip(start, self.sample_size, strict=True))
        return {key: array[window] for key, array in volume.items()}

    def _room(self, volume: Mapping[str, np.ndarray]) -> list[int]:
        return [n - p + 1 for n, p in zip(volume["image"].shape, self.sample_size, strict=True)]


class PatchPairs(Dataset):
    """Pairs of one random source patch and one random target patch, as the trainer wants them.

    A sample of X, {`image`, `label`}, and one of Y, {`image`}, arrays (1, Z, Y, X), are augmented each by itself; an
    item is `transform` of what comes out, with _x or _y at each name: {`image_x`, `label_x`, `image_y`} and more.
    Images are float32 in the range that the volumes were scaled to, labels have their own integer type.

    Item k is a random one, always the same for a seed and k, whatever was drawn before and by which worker: all random
    streams are set anew for it, which takes less than a millisecond. k may be beyond `length`, which only says how many
    make a pass. It is no `Randomizable`: MONAI's DataLoader would give every worker a seed of its own.

    Args:
        source: dictionaries with `image` and `label`, each (1, Z, Y, X); any sequence, a CacheDataset for instance.
        target: dictionaries with `image`.
        patch_size: (Z, Y, X).
        length: number of pairs that one pass over the dataset yields.
        transform: what is done with the pair; encoding of targets.
        augmentation: random transform of either domain's sample, which returns patches.
        sample_size: (Z, Y, X) of what `augmentation` is given; default `patch_size`.
        min_foreground: labelled voxels, after augmentation, below which a source patch is drawn again with
            `reject_probability`; not where `foreground_share` chooses.
        reject_probability: see `min_foreground`.
        max_trials: bound on redraws by `min_foreground`; the last patch is then taken as it is.
        seed: of all items; default that of torch, which `set_determinism` sets.
        **sampling: `foreground_share` and `candidates` of the source's `PatchSampler`.

    Raises:
        InputError: when a patch, once augmented, has not `patch_size`.
    """

    def __init__(
        self,
        source: Sequence[Mapping[str, Any]],
        target: Sequence[Mapping[str, Any]],
        patch_size: Sequence[int],
        length: int,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        augmentation: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        sample_size: Sequence[int] | None = None,
        min_foreground: int = 0,
        reject_probability: float = 0.9,
        max_trials: int = 50,
        seed: int | None = None,
        **sampling: Any,
    ) -> None:
        self.source = PatchSampler([source[i] for i in range(len(source))], patch_size, sample_size, **sampling)
        self.target = PatchSampler([target[i] for i in range(len(target))], patch_size, sample_size)
        self.length, self.transform, self.augmentation = length, transform, augmentation
        self.min_foreground = 0 if self.source.foreground_share is not None else min_foreground
        self.reject_probability, self.max_trials = reject_probability, max_trials
        self.seed = torch.initial_seed() if seed is None else seed
        self.R = np.random.RandomState()

    def set_target(self, target: Sequence[Mapping[str, Any]]) -> None:
        """Draw Y's patches from other volumes, which may have a `label`. Workers see it from their next pass on."""
        self.target = PatchSampler(target, self.target.patch_size, self.target.sample_size)

    @property
    def shapes(self) -> dict[str, list[list[int]]]:
        """Shapes (Z, Y, X) of what patches are drawn from, by domain."""
        domains = {"x": self.source, "y": self.target}
        return {name: [list(v["image"].shape) for v in domain.volumes] for name, domain in domains.items()}

    def __len__(self) -> int:
        """Return the number of pairs in one pass."""
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the pairs of the first pass."""
        return (self[index] for index in range(self.length))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the random pair of this number, which may be beyond the first pass."""
        if index < 0:
            raise IndexError(index)
        self._set_streams(index)
        x, y = self._source_patch(), self._patch(self.target)
        pair = {f"{key}_{domain}": value for domain, patch in (("x", x), ("y", y)) for key, value in patch.items()}
        # Not `if self.transform`: the truth of a Compose is its length, and asking for that seeds all its parts anew.
        return pair if self.transform is None else self.transform(pair)

    def _set_streams(self, index: int) -> None:
        own, *seeds = map(int, np.random.SeedSequence([self.seed, index]).generate_state(5))
        self.R = np.random.RandomState(own)
        parts = (self.source, self.target, self.transform, self.augmentation)
        for part, seed in zip(parts, seeds, strict=True):
            if isinstance(part, Randomizable):
                part.set_random_state(seed=seed)

    def _source_patch(self) -> dict[str, Any]:
        for _ in range(self.max_trials):
            patch = self._patch(self.source)
            if not self.min_foreground or int((patch["label"] > 0).sum()) >= self.min_foreground:
                break
            if self.R.uniform() >= self.reject_probability:
                break
        return patch

    def _patch(self, sampler: PatchSampler) -> dict[str, Any]:
        drawn = sampler.draw()
        patch: dict[str, Any] = {"image": torch.as_tensor(drawn["image"][None].astype(np.float32))}
        if "label" in drawn:
            patch["label"] = drawn["label"][None].copy()
        if self.augmentation is not None:
            patch = self.augmentation(patch)
        if (shape := tuple(patch["image"].shape[1:])) != sampler.patch_size:
            raise InputError(
                f"patches have shape {shape} after augmentation, expected patch_size, {sampler.patch_size}: "
                "give the augmentation samples large enough, and let it cut them to the patch."
            )
        return patch


def _fitted(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Pad (Z, Y, X) by reflection where it is smaller than `size`."""
    missing = [max(0, p - n) for n, p in zip(array.shape, size, strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(m // 2, m - m // 2) for m in missing], mode="symmetric")
