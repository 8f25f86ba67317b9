"""What the pictures have in common: colours of the text, and writing the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scripts.volume_io.replacement import replacing

__all__ = ["FAINT", "INK", "RULE", "place", "save", "write"]

INK, FAINT, RULE = "#1c2330", "#747d8c", "#dfe3e9"


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, 120 dots per inch, and make its folder.

    Raises:
        InputError: if the file cannot be written; what was there before is untouched.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # $ in the name of a file begins no formula
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without frame, in inches from the upper left corner."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_axis_off()
    return axes


def write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Write text, its place in inches from the upper left corner; `style` as for matplotlib's text."""
    across, down = figure.get_size_inches()
    figure.text(left / across, 1 - top / down, text, **{"color": INK, "fontsize": 11, **style})
