"""A picture of what each augmentation does to the source volume of the example pair, at its published amounts.

python -m scripts.report.augmentation --out docs/augmentation.png
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scripts import transforms
from scripts.command.start import start
from scripts.example import make_pair
from scripts.report.style import FAINT, INK, save
from scripts.transforms.augmentation import RandVolume

__all__ = ["draw_augmentations"]

ROWS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("RandMisalignment", {"rotation": 0.0, "slip": 1.0}, "shift,\none section"),
    ("RandMisalignment", {"rotation": 1.0, "slip": 0.0}, "turn, it and\nall that follow"),
    ("RandMissingSection", {}, "two sections\ntaken out"),
    ("RandElasticInPlane", {}, "one field for\nall sections"),
    ("RandRescaleInPlane", {}, "y and x by\nthemselves"),
    ("RandGreyValue", {}, "whole volume"),
    ("RandCutNoise", {}, "a cuboid,\ninput alone"),
    ("RandCutBlur", {}, "a cuboid,\ninput alone"),
    ("RandMotionBlur", {}, "two sections,\ninput alone"),
    ("RandMissingParts", {}, "every other section,\ninput alone"),
)
"""Transform, options, and what is said of it."""

PATCH, SAMPLE = (17, 105, 105), (19, 149, 149)
TRIALS = 100
COLUMNS = (("before, z", 0), ("after, z − 1", -1), ("after, z", 0), ("after, z + 1", 1))
SIDE, CAPTION, HEAD, GAP, DPI, GREYS = PATCH[1], 132, 24, 4, 120, 23
"""Pixels, dots per inch, and the steps of grey that keep the file small."""


def draw_augmentations(out: str = "augmentation.png", seed: int = 0) -> None:
    """Draw a row for each transform: the middle section before, and three after, with outlines of the labels.

    Of `TRIALS` draws that one is shown which changes the middle section most, or sets it off most from the one before.
    The transforms of geometry are given a margin, and their labels go along.

    Args:
        out: the PNG to write.
        seed: of the example pair and of the draws.

    Raises:
        InputError: if the file cannot be written.
    """
    pair = make_pair((24, 192, 192), seed)
    image, label = pair["imageX"].astype(np.float32)[None] / 255, pair["labelX"][None]
    sample = {"image": _centre(image, SAMPLE), "label": _centre(label, SAMPLE)}
    width, height = CAPTION + len(COLUMNS) * (SIDE + GAP) + 2 * GAP, HEAD + len(ROWS) * (SIDE + GAP)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    for column, (caption, _) in enumerate(COLUMNS):
        figure.text(_left(column) / width, 1 - 17 / height, caption, color=INK, fontsize=6.5)
    for row, (name, options, note) in enumerate(ROWS):
        bottom = height - HEAD - row * (SIDE + GAP) - SIDE
        figure.text(3 / width, (bottom + SIDE / 2) / height, name.removeprefix("Rand"), color=INK, fontsize=7)
        figure.text(3 / width, (bottom + SIDE / 2 - 5) / height, note, color=FAINT, fontsize=6, va="top")
        for column, picture in enumerate(_row(name, options, sample, seed)):
            figure.figimage(picture, _left(column), bottom, origin="upper")
    save(figure, out)


def _left(column: int) -> int:
    return CAPTION + column * (SIDE + GAP) + 2 * GAP * (column > 0)


def _row(name: str, options: dict[str, Any], sample: dict[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """Pictures (Y, X, 3) of sections before, and after the draw that changes most."""
    transform: RandVolume = getattr(transforms, name)(prob=1.0, **options)
    geometry = transform.__module__.endswith(("section", "warp"))
    before, middle = _centre(sample["image"], PATCH), PATCH[0] // 2
    given = sample["image"] if geometry else before

    def after(trial: int) -> tuple[np.ndarray, np.ndarray]:
        transform.set_random_state(1000 * seed + trial)
        changed, label = transform(given), sample["label"]
        moved = transform(label, randomize=False) if geometry else label
        return _centre(np.asarray(changed), PATCH), _centre(np.asarray(moved), PATCH)

    def change(trial: int) -> float:
        changed, moved = after(trial)
        if transform.__module__.endswith("section"):
            return float((moved[0, middle] != moved[0, middle - 1]).mean())
        return float(np.abs(changed - before)[0, middle].mean())

    shown = [(before, _centre(sample["label"], PATCH))] + 3 * [after(max(range(TRIALS), key=change))]
    places = [middle + z for _, z in COLUMNS]
    return [_picture(image[0, z], label[0, z]) for (image, label), z in zip(shown, places, strict=True)]


def _picture(section: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Grey values (Y, X) with the outlines of labels in colour."""
    picture = np.repeat(np.rint(section * GREYS)[..., None] / GREYS, 3, axis=2)
    outline = np.zeros(label.shape, bool)
    outline[1:] |= label[1:] != label[:-1]
    outline[:, 1:] |= label[:, 1:] != label[:, :-1]
    picture[outline] = (1.0, 0.75, 0.1)
    return picture


def _centre(volume: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Cut (C, Z, Y, X) about its centre."""
    starts = [(n - side) // 2 for n, side in zip(volume.shape[1:], size, strict=True)]
    z, y, x = (slice(start, start + side) for start, side in zip(starts, size, strict=True))
    return volume[:, z, y, x]


if __name__ == "__main__":
    start(draw_augmentations)
