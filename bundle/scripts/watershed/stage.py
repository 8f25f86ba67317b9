"""The stages of a watershed, and a progress bar over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

__all__ = ["STAGES", "stage_bar"]

STAGES = ("thresholds", "seeds", "flood", "small instances", "scale")


@contextmanager
def stage_bar(first: str = "decoding", more: int = 0) -> Iterator[Callable[[str], Any]]:
    """Show a bar; yields what a watershed takes as `on_stage`.

    Args:
        first: what goes on before the first stage.
        more: stages that the caller adds to those of the watershed.
    """
    with tqdm(total=len(STAGES) + 1 + more, desc=first) as bar:

        def on_stage(stage: str) -> None:
            bar.update()
            bar.set_description(stage)

        yield on_stage
        bar.update()
