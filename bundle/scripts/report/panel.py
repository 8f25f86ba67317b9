"""Image panels for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["cycle_panel"]

SIDE, CAPTION, GAP, DPI = 160, 20, 4, 100
"""Pixels: about the smallest side of a picture, height of a caption, gap; and dots per inch, which set the letters."""


def cycle_panel(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Lay the middle slices of volumes side by side, a captioned strip for each row: X → Y → X with maps, say.

    Args:
        rows: name and volumes (C, Z, Y, X), or one (Z, Y, X), with values in [0, 1]; others are clipped. A name of C
            parts with bars between them ("real | fake | rec") captions every picture, any other the strip.

    Returns:
        (3, H, W) float32 in [0, 1], as `SummaryWriter.add_image` takes it.
    """
    strips = [(name.split("|"), _strip(np.asarray(volume))) for name, volume in rows]
    width = GAP + max(count * (columns + GAP) for count, _, columns in (strip.shape for _, strip in strips))
    height = GAP + sum(CAPTION + strip.shape[1] for _, strip in strips)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="#12161d")
    bottom = height
    for names, strip in strips:
        bottom -= CAPTION + strip.shape[1]
        captions = names if len(names) == len(strip) else ["|".join(names)]
        _draw_strip(figure, strip, [caption.strip() for caption in captions], bottom)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1).astype(np.float32) / 255


def _strip(volume: np.ndarray) -> np.ndarray:
    """Middle slices (C, Y, X) of (C, Z, Y, X) or (Z, Y, X), clipped to [0, 1] and enlarged by a whole number."""
    volume = volume if volume.ndim == 4 else volume[None]
    slices = np.clip(volume[:, volume.shape[1] // 2].astype(np.float32), 0, 1)
    zoom = max(1, round(SIDE / max(slices.shape[1:])))
    return slices.repeat(zoom, 1).repeat(zoom, 2)


def _draw_strip(figure: Figure, strip: np.ndarray, captions: Sequence[str], bottom: int) -> None:
    width, height = (figure.get_size_inches() * DPI).round()
    for number, picture in enumerate(strip):
        left = GAP + number * (strip.shape[2] + GAP)
        figure.figimage(picture, left, bottom, cmap="gray", vmin=0, vmax=1, origin="upper")
        if number < len(captions):
            top = (bottom + strip.shape[1] + 6) / height
            figure.text(left / width, top, captions[number], color="#e8ebf0", fontsize=8)
