"""One page: slices in three planes of a volume and of what was made of it, and the scores."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scripts.report.colour import colour_instances, inherit_colours, paint
from scripts.report.score import SCORES, score_cells
from scripts.report.slices import Volume, check_shapes, cut_maps, cut_volume, densest_cuts, stretched
from scripts.report.style import FAINT, place, save, write

__all__ = ["draw_report"]

PLANES = (("z", "y ↓  x →"), ("y", "z ↓  x →"), ("x", "z ↓  y →"))
COLUMN, GAP, LEFT, TOP, BAR, LINE = 2.7, 0.09, 0.62, 1.05, 0.52, 0.27
"""Inches: column of pictures, gap, margin with the names of the planes, head, colour bars, line of the table."""
LETTERS = 16
"""In an inch, of text of 8 points."""


@dataclass(frozen=True)
class Column:
    """Three cuts of one volume, (H, W) values in [0, 1] or (H, W, 3) colours; `scale` names 0, 0.5 and 1."""

    title: str
    planes: Sequence[np.ndarray]
    colours: str = "gray"
    scale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Where the cuts go, and how large they are drawn."""

    cuts: Sequence[int]
    shape: Sequence[int]
    voxel_size: Sequence[float]

    @property
    def sizes(self) -> list[tuple[float, float]]:
        """Height and width of each cut in inches, none wider than a column or much higher than wide."""
        z, y, x = (side * step for side, step in zip(self.shape, self.voxel_size, strict=True))
        scale = min(COLUMN / max(y, x), 1.5 * COLUMN / max(z, y))
        return [(max(h * scale, 0.15), max(w * scale, 0.15)) for h, w in ((y, x), (z, x), (z, y))]

    @property
    def pitch(self) -> float:
        """Width of a column in inches, wide enough for its title."""
        return max(1.3, *(width for _, width in self.sizes))


def draw_report(
    path: str | Path,
    image: Volume,
    maps: Volume | None = None,
    instances: Volume | None = None,
    truth: Volume | None = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    voxel_size: Sequence[float] = (2.0, 1.0, 1.0),
    title: str = "",
    map_names: Sequence[str] = ("foreground", "contour", "distance"),
    made: str = "",
) -> None:
    """Draw three cuts through a volume and all that was made of it, with a table of scores.

    The cuts go where most of the truth is, else of the instances, else of the first map. An instance wears the colour
    of the true one that it covers most, unless a neighbour wears it already.

    Args:
        path: the PNG to write; its folder is made.
        image: the target volume (Z, Y, X).
        maps: (M, Z, Y, X), uint8 or in [0, 1]; with one channel more than `map_names` the first is the image as the
            other domain would show it.
        instances: integer labels (Z, Y, X).
        truth: integer labels (Z, Y, X).
        scores: for each method a row of `ap50`, `ap75`, `f1_50`, `found` and `present`, as far as known.
        voxel_size: (z, y, x), in any unit; sets the proportions of the pictures.
        title: a line over all.
        map_names: titles of the maps; "distance" is labelled from -1 to 1.
        made: how the result was made, a line under the title; what does not fit the width is cut off.

    Raises:
        InputError: if the volumes do not have the same shape, or the file cannot be written.
    """
    check_shapes(image, maps, {"instances": instances, "truth": truth})
    first = 0 if maps is None else int(maps.shape[0] == len(map_names) + 1)
    cuts = densest_cuts(next((v for v in (truth, instances) if v is not None), None), maps, first, image.shape)
    columns = [Column("Y", stretched(cut_volume(image, cuts)))]
    if first:
        columns.append(Column("Y translated", stretched(cut_maps(maps, 0, cuts))))
    columns += _map_columns(maps, first, cuts, map_names) + _label_columns(columns[0], instances, truth, cuts)
    layout, rows = Layout(cuts, image.shape, voxel_size), score_cells(scores)
    figure = _page(columns, layout, len(rows))
    _draw_head(figure, title, layout, made)
    for number, column in enumerate(columns):
        _draw_column(figure, column, LEFT + number * (layout.pitch + GAP), layout)
    _draw_plane_names(figure, layout)
    _draw_scores(figure, rows)
    save(figure, path)


def _map_columns(maps: Volume | None, first: int, cuts: Sequence[int], names: Sequence[str]) -> list[Column]:
    count = 0 if maps is None else maps.shape[0] - first
    titles = names if len(names) == count else [f"map {number + 1}" for number in range(count)]
    columns = []
    for channel, title in enumerate(titles, first):
        scale = ("−1", "0", "1") if title == "distance" else ("0", "0.5", "1")
        columns.append(Column(title, cut_maps(maps, channel, cuts), "magma", scale))
    return columns


def _label_columns(grey: Column, instances: Volume | None, truth: Volume | None, cuts: Sequence[int]) -> list[Column]:
    columns: list[Column] = []
    wanted: dict[int, int] = {}
    if truth is not None:
        true_planes = cut_volume(truth, cuts)
        colours = colour_instances(true_planes)
        columns.append(_overlay("ground truth", grey, true_planes, colours))
    if instances is not None:
        planes = cut_volume(instances, cuts)
        if truth is not None:
            wanted = inherit_colours(planes, true_planes, colours)
        columns.insert(0, _overlay("instances", grey, planes, colour_instances(planes, wanted)))
    return columns


def _overlay(title: str, grey: Column, planes: Sequence[np.ndarray], colours: Mapping[int, int]) -> Column:
    return Column(title, [paint(*pair, colours) for pair in zip(grey.planes, planes, strict=True)])


def _page(columns: Sequence[Column], layout: Layout, lines: int) -> Figure:
    width = LEFT + len(columns) * (layout.pitch + GAP) + GAP
    bar = BAR if any(column.scale for column in columns) else GAP
    height = TOP + sum(high + GAP for high, _ in layout.sizes) + bar + (lines + 0.7) * LINE * bool(lines)
    return Figure(figsize=(max(width, 6.4), height), facecolor="white")


def _draw_head(figure: Figure, title: str, layout: Layout, made: str) -> None:
    shape = " × ".join(map(str, layout.shape))
    size = " × ".join(f"{step:.4g}" for step in layout.voxel_size)
    write(figure, LEFT, 0.38, title or "Report", fontsize=16, fontweight="bold")
    write(figure, LEFT, 0.62, f"{shape} voxels of {size} (z, y, x)", color=FAINT)
    if made:
        letters = int((figure.get_size_inches()[0] - LEFT - GAP) * LETTERS)
        write(figure, LEFT, 0.78, textwrap.shorten(made, letters, placeholder=" …"), color=FAINT, fontsize=8)


def _draw_column(figure: Figure, column: Column, left: float, layout: Layout) -> None:
    top = TOP
    write(figure, left, top - 0.08, column.title, fontweight="bold")
    for plane, (height, width) in zip(column.planes, layout.sizes, strict=True):
        axes = place(figure, left, top, width, height)
        axes.imshow(plane, column.colours, vmin=0, vmax=1, aspect="auto")
        top += height + GAP
    if column.scale:
        bar = place(figure, left, top + 0.04, layout.pitch, 0.1)
        bar.imshow(np.linspace(0, 1, 256)[None], column.colours, aspect="auto")
        for at, text, align in zip((0, 0.5, 1), column.scale, ("left", "center", "right"), strict=True):
            write(figure, left + at * layout.pitch, top + 0.32, text, color=FAINT, fontsize=9, ha=align)


def _draw_plane_names(figure: Figure, layout: Layout) -> None:
    """Name the cuts in the margin, and draw in the first column where the two others are."""
    top = TOP
    turned: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center"}
    line: dict[str, Any] = {"color": "white", "linewidth": 0.7, "linestyle": (0, (4, 4)), "alpha": 0.6}
    for axis, (height, width) in enumerate(layout.sizes):
        write(figure, 0.22, top + height / 2, f"{PLANES[axis][0]} = {layout.cuts[axis]}", fontweight="bold", **turned)
        write(figure, 0.45, top + height / 2, PLANES[axis][1], color=FAINT, fontsize=8, **turned)
        axes = place(figure, LEFT, top, width, height)
        row, column = ((layout.cuts[i] + 0.5) / layout.shape[i] for i in range(3) if i != axis)
        axes.add_line(Line2D([0, 1], [1 - row] * 2, **line))
        axes.add_line(Line2D([column] * 2, [0, 1], **line))
        top += height + GAP


def _draw_scores(figure: Figure, rows: Sequence[Sequence[str]]) -> None:
    """Write the table at the foot of the page, the best of each column in bold."""
    across, down = figure.get_size_inches()
    ends = [LEFT + end for end in (2.0, 2.9, 3.8, 5.5)]
    for number, row in enumerate(rows):
        top = down - (len(rows) - number - 0.3) * LINE
        write(figure, LEFT, top, row[0])
        for column, (cell, end) in enumerate(zip(row[1:], ends, strict=True), 1):
            known = [other[column] for other in rows[1:] if other[column] != "–"]
            best = column <= len(SCORES) and cell == max(known, default=None)
            style = {"color": FAINT} if number == 0 else {"fontweight": "bold" if best else "normal"}
            write(figure, end, top, cell, ha="right", **style)
        if number == 0:
            rule = 1 - (top + 0.09) / down
            figure.add_artist(Line2D([LEFT / across, ends[-1] / across], [rule, rule], color=FAINT, linewidth=0.8))
