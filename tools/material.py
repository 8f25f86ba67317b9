"""What workloads are made of: labels, volumes, and the configurations with what is changed for timing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"

Shape = tuple[int, ...]


def ellipsoids(shape: Shape, pitch: Shape, seed: int = 0) -> np.ndarray:
    """Label (Z, Y, X) of ellipsoids about `pitch` (z, y, x) wide, most of them touching their neighbours."""
    random = np.random.default_rng(seed)
    axes = [np.arange(step / 2, length, step) for length, step in zip(shape, pitch, strict=True)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    centres += random.uniform(-0.15, 0.15, centres.shape) * pitch
    label, nearest = np.zeros(shape, np.uint16), np.ones(shape, np.float32)
    for number, centre in enumerate(centres, 1):
        radii = random.uniform(0.45, 0.65, 3) * pitch
        box = tuple(slice(max(0, int(c - r)), int(c + r) + 2) for c, r in zip(centre, radii, strict=True))
        grid = np.ogrid[tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, shape, strict=True))]
        distance = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True))
        closer = distance < nearest[box]
        label[box][closer], nearest[box][closer] = number, distance[closer]
    return label


def volume(seed: int, shape: Shape = (64, 256, 256)) -> dict[str, np.ndarray]:
    """Image (1, Z, Y, X), bytes scaled to [0, 1] in half precision as train.yaml keeps them, and its label."""
    label = ellipsoids(shape, (12, 24, 24), seed)
    grey = np.random.default_rng(seed).normal(80, 10, shape) + 100 * (label > 0)
    return {"image": (grey.clip(0, 255).astype(np.uint8) / 255).astype(np.float16)[None], "label": label[None]}


def representation() -> Any:
    """Foreground, contour and distance, as published."""
    from scripts.representation import Contour, Foreground, Representation, SignedDistance

    return Representation([Foreground(), Contour(), SignedDistance()])


def parsed(configs: Iterable[str], changes: Mapping[str, Any] | None = None) -> Any:
    """Return a parser of configs by name (or path, ending in .yaml), on the CPU, with `changes` of keys."""
    import torch
    from monai.bundle import ConfigParser

    torch.manual_seed(0)
    parser = ConfigParser()
    folder = BUNDLE / "configs"
    parser.read_config([name if name.endswith(".yaml") else str(folder / f"{name}.yaml") for name in configs])
    settings = {"bundle_root": str(BUNDLE), "device": "$torch.device('cpu')", **(changes or {})}
    for key, value in settings.items():
        parser[key] = value
    return parser
