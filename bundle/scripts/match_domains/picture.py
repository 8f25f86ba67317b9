"""Both volumes side by side, at the scale at which training would see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scripts.match_domains.match import Domain, Match
from scripts.match_domains.piece import normalised
from scripts.volume_io.replacement import replacing

__all__ = ["draw_match"]

INK, FAINT = "#1c2330", "#747d8c"
WIDTH, GAP, MARGIN, HEAD, FOOT = 4.2, 0.25, 0.3, 0.55, 0.5
"""Inches: each column, the gaps, the margin, the head and the legend."""
LEGEND = (
    "Yellow bar: diameter of an object of X. In each picture objects should be about as wide as the bar.\n"
    "Upper row: section across z (y down, x across). Lower row: section across y (z down, x across)."
)
MOST_OBJECTS = 12
"""Object diameters that a column shows, at most."""


def draw_match(path: str | Path, image_x: np.ndarray, image_y: np.ndarray, match: Match) -> None:
    """Draw the middle sections z and y of both volumes (Z, Y, X), one object diameter of X being as long in all.

    A length along z is drawn as many times longer as objects of X have fewer voxels along z, so that they look round.

    Raises:
        InputError: the picture cannot be written.
    """
    z, plane = match.x.sizes.diameters[0], np.mean(match.x.sizes.diameters[1:])
    unit = np.array([z * match.scale_x[0], *[plane * match.scale_x[2]] * 2])  # voxels of a diameter, after scaling
    volumes = ((image_x, match.x, match.scale_x), (image_y, match.y, match.scale_y))
    steps = [np.array(scale) / unit for _, _, scale in volumes]  # diameters for each voxel
    extents = [np.array(volume.shape) * step for (volume, _, _), step in zip(volumes, steps, strict=True)]
    width = min(MOST_OBJECTS, max(extent[2] for extent in extents))
    tall = min(width, max(extent[1] for extent in extents)), min(width, max(extent[0] for extent in extents))
    inch = WIDTH / width
    height = HEAD + FOOT + GAP + sum(max(side * inch, 0.3) for side in tall)
    figure = Figure(figsize=(2 * (MARGIN + WIDTH) + GAP, height), facecolor="white")
    for column, ((volume, domain, _), step, name) in enumerate(zip(volumes, steps, "XY", strict=True)):
        left, bottom = MARGIN + column * (WIDTH + GAP), height - HEAD
        figure.text(
            left / figure.get_figwidth(), 1 - 0.12 / height, _title(name, domain), color=INK, fontsize=9, va="top"
        )
        cuts = volume[volume.shape[0] // 2], volume[:, volume.shape[1] // 2]
        for plane_cut, rows, side in zip(cuts, (1, 0), tall, strict=True):
            drawn = max(side * inch, 0.3)
            bottom -= drawn + (GAP if rows == 0 else 0)
            box = (left / figure.get_figwidth(), bottom / height, WIDTH / figure.get_figwidth(), drawn / height)
            grey = normalised(plane_cut, domain.window)
            _section(figure.add_axes(box), grey, (step[rows], step[2]), (drawn / inch, width))
    figure.text(MARGIN / figure.get_figwidth(), 0.1 / height, LEGEND, color=FAINT, fontsize=8)
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _title(name: str, domain: Domain) -> str:
    texts = ["?" if np.isnan(size) else f"{size:.1f}" for size in domain.sizes.diameters]
    return f"{name}: objects of {' × '.join(texts)} voxels (z, y, x)\nSize from: {domain.sizes.source}"


def _section(axes: Axes, grey: np.ndarray, step: tuple[float, float], shown: tuple[float, float]) -> None:
    """One section (H, W), `step` diameters for each voxel, its middle in a frame of `shown` diameters."""
    rows, columns = (side * length for side, length in zip(grey.shape, step, strict=True))
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0), aspect="auto", interpolation="nearest")
    top, left = (rows - shown[0]) / 2, (columns - shown[1]) / 2
    axes.set(xlim=(left, left + shown[1]), ylim=(top + shown[0], top), xticks=[], yticks=[], facecolor="#eef0f3")
    axes.spines[:].set_visible(False)
    corner = max(left, 0) + 0.3, min(top + shown[0], rows) - 0.3
    axes.plot([corner[0], corner[0] + 1], [corner[1]] * 2, color="#ffd23f", linewidth=3, solid_capstyle="butt")
