"""Settings of a model's decoder, judged without labels: maps are predicted once, and decoded by each setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import product
from typing import Any

import numpy as np
from monai.utils import convert_to_numpy
from scripts.judge.candidate import Judgement, VolumeCrops, judged
from scripts.judge.consistency import Repeated, compared, maps_of, perturbed_maps
from scripts.judge.grey import seen_by
from scripts.judge.perturbation import FEW
from scripts.predictor import Predictor
from scripts.transforms.target import DecodeInstances
from scripts.volume_io import open_volume

__all__ = ["OWN", "judge_decoders", "variants"]

OWN = "own"
"""Name of the setting that a model has."""
SEEDS = ("seed_distance", "seed_contour", "seed_affinity")
"""Thresholds of seeds, of which the first one that a decoder has is varied: it parts neighbours."""
MASKS = ("mask_foreground", "mask_affinity")
STEPS = {**dict.fromkeys(SEEDS, (-0.2, -0.1, 0.0, 0.1)), **dict.fromkeys(MASKS, (-0.1, 0.0, 0.1))}
"""What is added to the thresholds that a decoder has."""


def variants(decoder: Any) -> dict[str, Any]:
    """Return decoders by their names: the given one first, then those with other thresholds around its own.

    Args:
        decoder: of `scripts.watershed`, with every option named.
    """
    names = [next(name for name in kind if name in decoder.options) for kind in (SEEDS, MASKS)]
    found = {OWN: decoder}
    for steps in product(*(STEPS[name] for name in names)):
        values = {name: round(decoder.options[name] + step, 3) for name, step in zip(names, steps, strict=True)}
        if any(steps) and all(0 < value < 1 for value in values.values()):
            label = ", ".join(f"{name} {value:g}" for name, value in values.items())
            found[label] = type(decoder)(**{**decoder.options, **values})
    return found


def judge_decoders(
    predictor: Predictor, volumes: Sequence[VolumeCrops], decoders: Mapping[str, Any], expected: float | None = None
) -> list[Judgement]:
    """Judge a model with each of several decoders, on the same maps.

    Memory: 50 bytes per voxel of a crop, for 3 maps, and 4 more for each decoder and voxel of all crops.

    Args:
        predictor: the model, see `scripts.judge.predictor_of`.
        volumes: what to look at.
        decoders: by name.
        expected: see `scripts.judge.veto.vetoes`.
    """
    found: dict[str, list[Repeated]] = {name: [] for name in decoders}
    for volume in volumes:
        with closing(open_volume(volume.image)) as image:
            see = seen_by(predictor, image)
            for box in volume.boxes:
                crop = see(box)
                maps, *others = [maps_of(predictor, crop), *perturbed_maps(predictor, crop, FEW)]
                for name, decoder in decoders.items():
                    found[name].append(compared(maps, others, _decoding(decoder)))
    return [judged(name, of_crops, volumes, expected) for name, of_crops in found.items()]


def _decoding(decoder: Any) -> Callable[[Any], np.ndarray]:
    decode = DecodeInstances(decoder)
    return lambda maps: convert_to_numpy(decode(maps))[0]
