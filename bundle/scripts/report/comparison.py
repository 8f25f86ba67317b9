"""One row of pictures for each method: what it made of the same section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scripts.report.colour import colour_instances, inherit_colours, paint
from scripts.report.slices import Volume, check_shapes, densest_cuts, stretched
from scripts.report.style import place, save, write

__all__ = ["draw_comparison"]

SIDE, LEFT, HEAD, GAP = 1.8, 1.6, 0.3, 0.05
"""Inches: longer side of a picture, margin with the names, line of titles, gap."""
NOTE: dict[str, Any] = {"fontsize": 9, "va": "top"}


def draw_comparison(
    path: str | Path,
    image: Volume,
    methods: Mapping[str, tuple[Volume | None, Volume]],
    map_names: Sequence[str],
    truth: Volume | None = None,
    voxel_size: Sequence[float] = (2.0, 1.0, 1.0),
) -> None:
    """Draw the section z and the section y with most foreground, for each method: maps, instances, truth.

    Args:
        path: the PNG to write.
        image: the target volume (Z, Y, X).
        methods: for each title the maps (M, Z, Y, X), the translated image first where there is one more than
            `map_names`, or None; and the instances (Z, Y, X).
        map_names: titles of the maps.
        truth: integer labels (Z, Y, X).
        voxel_size: (z, y, x), sets the proportions.

    Raises:
        InputError: the volumes differ in shape, or the file cannot be written.
    """
    for maps, instances in methods.values():
        check_shapes(image, maps, {"instances": instances, "truth": truth})
    first = next(iter(methods.values()))[1] if truth is None else truth
    cuts = densest_cuts(first, None, 0, image.shape)
    titles = ["Y", "translated", *map_names, "instances", *(["ground truth"] if truth is not None else [])]
    height = SIDE * image.shape[1] / max(image.shape[1:])
    low = SIDE * image.shape[0] * voxel_size[0] / (max(image.shape[1:]) * voxel_size[1])
    rows = [(title, axis) for title in methods for axis in (0, 1)]
    heights = [height if axis == 0 else low for _, axis in rows]
    figure = Figure((LEFT + len(titles) * (SIDE + GAP), HEAD + sum(heights) + len(rows) * GAP), facecolor="white")
    top = HEAD
    for (title, axis), side in zip(rows, heights, strict=True):
        pictures = _pictures(image, *methods[title], truth, axis, cuts[axis], len(map_names))
        _draw_row(figure, pictures, top, side)
        if axis == 0:
            write(figure, 0.1, top + 0.05, "\n".join(wrap(title, 17)), fontweight="bold", **NOTE)
        write(figure, 0.1, top + side - 0.2, f"{'zy'[axis]} = {cuts[axis]}", **NOTE)
        top += side + GAP
    for number, title in enumerate(titles):
        write(figure, LEFT + number * (SIDE + GAP), HEAD - 0.22, title, fontweight="bold", **NOTE)
    save(figure, path)


def _pictures(
    image: Volume, maps: Volume | None, instances: Volume, truth: Volume | None, axis: int, at: int, count: int
) -> list[np.ndarray | None]:
    """Pictures of a row from left to right, None where the method has none."""
    where = (slice(None),) * axis + (at,)
    [grey] = stretched([np.asarray(image[where])])
    channels: list[np.ndarray | None] = [None] * (1 + count)
    if maps is not None:
        planes = [np.asarray(channel[where]) / np.float32(255) for channel in maps]
        channels = [None] * (1 + count - len(planes)) + list(planes)
    return [grey, *channels, *_coloured(grey, np.asarray(instances[where]), truth, where)]


def _coloured(
    grey: np.ndarray, instances: np.ndarray, truth: Volume | None, where: tuple[slice | int, ...]
) -> list[np.ndarray]:
    if truth is None:
        return [paint(grey, instances, colour_instances([instances]))]
    true = np.asarray(truth[where])
    colours = colour_instances([true])
    wanted = inherit_colours([instances], [true], colours)
    return [paint(grey, instances, colour_instances([instances], wanted)), paint(grey, true, colours)]


def _draw_row(figure: Figure, pictures: Sequence[np.ndarray | None], top: float, height: float) -> None:
    for number, picture in enumerate(pictures):
        if picture is not None:
            axes = place(figure, LEFT + number * (SIDE + GAP), top, SIDE, height)
            axes.imshow(picture, "gray", vmin=0, vmax=1, aspect="auto")
