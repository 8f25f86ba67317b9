"""What windows, their grid and their overlap do to the prediction of a trained network, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scripts.checkpoint import load_weights
from scripts.metrics import match_instances, score_instances
from scripts.volume_io import read_label

from machine import PRECISION
from material import Shape, parsed
from stopwatch import Result, Stopwatch

_OVERLAPS = ((0.0, False), (0.25, False), (0.5, False), (0.5, True))  # and whether in bfloat16
_STANDARD = 2  # of these, what the others' instances are held against


class Segmenter:
    """inference.yaml and overlays with trained weights: a volume's file to a tensor, to maps, to instances.

    Args:
        configs: names of configs, or paths.
        model: file of weights.
        **changes: arguments of the inferer to change.
    """

    def __init__(self, configs: Sequence[str], model: str, **changes: Any) -> None:
        parser = parsed(configs, {"model_path": model})
        parser["inferer"].update({"progress": False, "with_image": False, "as_bytes": False, **changes})
        part = parser.get_parsed_content
        self.network = part("network").eval()
        load_weights(self.network, model)
        self.preprocessing, self.inferer, self.decoder = part("preprocessing"), part("inferer"), part("decoder")

    def read(self, image: str) -> torch.Tensor:
        """Return the volume as the network wants it, (1, 1, Z, Y, X)."""
        return self.preprocessing({"image": image})["image"].as_tensor()[None]

    def maps(self, volume: torch.Tensor) -> np.ndarray:
        """Return the maps (M, Z, Y, X) in [0, 1]."""
        return self.inferer(volume, self.network)[0].numpy()

    def instances(self, maps: np.ndarray) -> np.ndarray:
        """Return the instances (Z, Y, X), decoded from bytes as in inference."""
        return self.decoder((255 * maps).astype(np.uint8))

    def grid(self, shape: Shape) -> tuple[Shape, Shape]:
        """Return window and stride (z, y, x) in voxels of the volume."""
        inferer = self.inferer
        sides = [round(n / factor) for n, factor in zip(inferer.roi_size, inferer.scale, strict=True)]
        padded = [n + 2 * p for n, p in zip(shape, inferer.padding, strict=True)]
        window = [min(side, n) if side > 0 else n for side, n in zip(sides, padded, strict=True)]
        overlaps = np.broadcast_to(inferer.overlap, 3)
        return tuple(window), tuple(max(1, int(n * (1 - share))) for n, share in zip(window, overlaps, strict=True))


def tiles(iterations: int, image: str, label: str, model: str, configs: Sequence[str]) -> Result:
    """Compare the configured prediction with one by larger windows and one by windows elsewhere."""
    usual = Segmenter(configs, model)
    larger = Segmenter(configs, model, roi_size=[round(1.5 * side) for side in usual.inferer.roi_size])
    volume, truth = usual.read(image), read_label(label, image)
    shift = third(usual.grid(tuple(volume.shape[2:]))[1], usual.inferer.scale)
    maps = {
        "as configured": usual.maps(volume),
        "larger window": larger.maps(volume),
        "shifted grid": cropped(usual.maps(shifted(volume, shift)), shift),
    }
    first, *others = maps.values()
    standard = usual.instances(first)
    rows = [{"f1_with_labels": _f1(truth, standard), "instances": _number(standard)}]
    for other in others:
        found = usual.instances(other)
        agreement = {"mean_difference": float(np.abs(first - other).mean()), "f1_with_configured": _f1(standard, found)}
        rows.append({"f1_with_labels": _f1(truth, found), "instances": _number(found), **agreement})
    named = [{"prediction": name, **row} for name, row in zip(maps, rows, strict=True)]
    return {"shift": shift, "rows": named}


def overlap(iterations: int, image: str, label: str, model: str, configs: Sequence[str]) -> Result:
    """Predict with several overlaps; time is that of the maps."""
    truth, rows, found = read_label(label, image), [], []
    for share, amp in _OVERLAPS:
        segmenter = Segmenter(configs, model, overlap=share, amp=amp)
        volume = segmenter.read(image)
        (z, y, x), _ = segmenter.grid(tuple(volume.shape[2:]))
        segmenter.maps(volume[:, :, :z, :y, :x])  # the first call of a shape prepares
        watch = Stopwatch()
        maps = watch.time(partial(segmenter.maps, volume), iterations)
        found.append(segmenter.instances(maps))
        row = {"overlap": share, "precision": PRECISION[amp]}
        rows.append(row | _cost(watch, truth.size) | _scores(truth, found[-1]))
    for row, instances in zip(rows, found, strict=True):
        row["f1_with_half"] = _f1(found[_STANDARD], instances)
    return {"rows": rows}


def third(stride: Shape, scale: Sequence[float]) -> Shape:
    """A third of the stride, in whole voxels of the network: windows are to move, resampling is not."""
    return tuple(round(max(1, round(step * factor / 3)) / factor) for step, factor in zip(stride, scale, strict=True))


def shifted(volume: torch.Tensor, shift: Shape) -> torch.Tensor:
    """Return (1, 1, Z, Y, X) padded by reflection at the low side."""
    widths = [(0, 0), (0, 0), *((step, 0) for step in shift)]
    return torch.from_numpy(np.pad(volume.numpy(), widths, mode="reflect"))


def cropped(maps: np.ndarray, shift: Shape) -> np.ndarray:
    """Return the maps (M, Z, Y, X) of a volume, of those of `shifted` of it."""
    z, y, x = shift
    return maps[:, z:, y:, x:]


def _cost(watch: Stopwatch, voxels: int) -> Result:
    result = watch.result(voxels)
    return {name: result[name] for name in ("seconds", "core_seconds", "voxels_per_core_second")}


def _scores(truth: np.ndarray, found: np.ndarray) -> Result:
    scores = score_instances(truth, found)
    return {name: scores[name] for name in ("ap50", "ap75", "dice")}


def _f1(truth: np.ndarray, found: np.ndarray) -> float:
    return match_instances(truth, found, 0.5).f1


def _number(instances: np.ndarray) -> int:
    return int(np.count_nonzero(np.unique(instances)))
