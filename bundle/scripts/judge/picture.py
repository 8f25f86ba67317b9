"""Candidates side by side, in the sections where they disagree most."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scripts.judge.candidate import VolumeCrops
from scripts.report.colour import colour_instances, inherit_colours, paint
from scripts.report.style import place, save, write
from scripts.volume_io import short_name

__all__ = ["draw_candidates"]

SIDE, LEFT, HEAD, GAP = 2.4, 1.5, 0.55, 0.06
"""Inches: longer side of a picture, margin with the places, titles, gap."""
ROWS = 3
APART = 4
"""Sections of one crop are at least its depth divided by this apart."""


class _Crop(NamedTuple):
    """A crop (Z, Y, X) in grey values from 0 to 1, its first z in the volume, and the instances of each candidate."""

    title: str
    first: int
    grey: np.ndarray
    candidates: list[np.ndarray]


def draw_candidates(
    path: str | Path, volumes: Sequence[VolumeCrops], candidates: Mapping[str, Sequence[np.ndarray]]
) -> None:
    """Draw the sections with most voxels that some candidates hold to be foreground and others do not.

    Memory: 4 bytes per voxel of a crop.

    Args:
        path: PNG to write.
        volumes: what the candidates were judged on.
        candidates: for each name its instances (Z, Y, X) of every crop, in the order of the volumes.

    Raises:
        InputError: the picture cannot be written.
    """
    crops = _crops(volumes, list(candidates.values()))
    sections = _sections(crops)
    heights = [SIDE * crops[n].grey.shape[1] / max(crops[n].grey.shape[1:]) for n, _, _ in sections]
    titles = ["image", *_captions(list(candidates))]
    size = LEFT + len(titles) * (SIDE + GAP), HEAD + sum(heights) + len(sections) * GAP
    figure = Figure(size, facecolor="white")
    for column, title in enumerate(titles):
        lines = "\n".join(wrap(title, 32)[-3:])
        write(figure, LEFT + column * (SIDE + GAP), HEAD - 0.05, lines, fontsize=8, fontweight="bold", va="bottom")
    top = HEAD
    for (number, z, share), height in zip(sections, heights, strict=True):
        _draw_row(figure, crops[number], z, top, height)
        text = f"{crops[number].title}\nsection {crops[number].first + z}\n{100 * share:.1f} % in dispute"
        write(figure, 0.05, top + 0.05, text, fontsize=8, va="top")
        top += height + GAP
    save(figure, path)


def _crops(volumes: Sequence[VolumeCrops], candidates: Sequence[Sequence[np.ndarray]]) -> list[_Crop]:
    places = [
        (volume.image, box, seen) for volume in volumes for box, seen in zip(volume.boxes, volume.seen, strict=True)
    ]
    return [
        _Crop(
            "\n".join([*wrap(short_name(image), 22), *_sides(box)]),
            box[0].start,
            1 - seen.crop if seen.bright is False else seen.crop,
            [crops[number] for crops in candidates],
        )
        for number, (image, box, seen) in enumerate(places)
    ]


def _sides(box: Sequence[slice]) -> list[str]:
    return [f"{axis} {side.start} to {side.stop - 1}" for axis, side in zip("zyx", box, strict=True)]


def _sections(crops: Sequence[_Crop]) -> list[tuple[int, int, float]]:
    """Crop, z and share of voxels in dispute of the sections to draw: most in dispute, then most foreground."""
    ranked = []
    for number, crop in enumerate(crops):
        votes = np.zeros(crop.grey.shape, np.uint16)
        for instances in crop.candidates:
            votes += instances > 0
        disputed = ((votes > 0) & (votes < len(crop.candidates))).mean(axis=(1, 2))
        foreground = votes.mean(axis=(1, 2))
        ranked += [(-float(share), -float(foreground[z]), number, z) for z, share in enumerate(disputed)]
    chosen: list[tuple[int, int, float]] = []
    for share, _, number, z in sorted(ranked):
        apart = len(crops[number].grey) / APART
        if len(chosen) < ROWS and all(number != other or abs(z - at) >= apart for other, at, _ in chosen):
            chosen.append((number, z, abs(share)))
    return chosen


def _captions(names: Sequence[str]) -> list[str]:
    """Names of files as short as they differ: model.pt, or a/model.pt and b/model.pt."""
    if len({short_name(name) for name in names}) == len(names):
        return [short_name(name) for name in names]
    folder = os.path.commonpath([os.path.abspath(name) for name in names])
    return [os.path.relpath(name, folder) for name in names]


def _draw_row(figure: Figure, crop: _Crop, z: int, top: float, height: float) -> None:
    """The section as it is, and with each candidate's instances; what matches the first one wears its colour."""
    grey, [first, *others] = crop.grey[z], [instances[z] for instances in crop.candidates]
    colours = colour_instances([first])
    of_others = [colour_instances([one], inherit_colours([one], [first], colours)) for one in others]
    painted = [paint(grey, one, own) for one, own in zip([first, *others], [colours, *of_others], strict=True)]
    for column, picture in enumerate([grey, *painted]):
        axes = place(figure, LEFT + column * (SIDE + GAP), top, SIDE, height)
        axes.imshow(picture, "gray", vmin=0, vmax=1, aspect="auto")
