"""What the pictures have in common: colours of the text, and writing the file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from scripts.errors import InputError

__all__ = ["FAINT", "INK", "RULE", "save"]

INK, FAINT, RULE = "#1c2330", "#747d8c", "#dfe3e9"


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, 120 dots per inch, and make its folder.

    Raises:
        InputError: if the file cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        raise InputError(
            f"{path}: cannot write the picture ({error.strerror}); choose a folder that can be written"
        ) from error
