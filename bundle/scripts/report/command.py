"""The command that draws the pictures of a run; `__main__.py` starts it.

Example::

    python -m scripts.report --image y.tif --maps maps.h5 --instances instances.tif --truth labelY.tif --out report.png
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.plan import Plan
from scripts.report.origin import channels_of, plan_line, result_plan
from scripts.report.page import draw_report
from scripts.report.score import rows_of_scores
from scripts.volume_io import open_volume, read_label, read_volume

__all__ = ["read_json", "report"]

logger = logging.getLogger(__name__)


def report(
    image: str,
    out: str = "report.png",
    maps: str | None = None,
    instances: str | None = None,
    truth: str | None = None,
    metrics: str | None = None,
    losses: str | None = None,
    image_dataset: str | None = None,
    truth_dataset: str | None = None,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
    map_names: Sequence[str] | None = None,
) -> None:
    """Draw report.png: sections of the image, maps, instances and labels, with scores.

    A line under the title has the thresholds and the scale that the plan of the maps, or of the instances, states.

    Args:
        image: the target volume (TIFF, HDF5, NIfTI).
        out: the PNG to write.
        maps: what inference wrote, HDF5 or Zarr: the maps, with or without the translated image before them.
        instances: labels of the decoding.
        truth: labels to compare with.
        metrics: JSON of the scores.
        losses: not taken any more; `python -m scripts.report.html` draws them.
        image_dataset: dataset of `image` where that is HDF5 with several.
        truth_dataset: the same of `truth`.
        voxel_size: z, y, x; by default what the file of the image says, else 2, 1, 1.
        title: a line over all.
        map_names: what the maps are, e.g. foreground,contour; by default what their file or its plan says, else
            foreground, contour and distance.

    Raises:
        InputError: if a file is missing, does not fit the others or cannot be written; or losses are given.
    """
    if losses is not None:
        raise InputError(
            f"--losses {losses}: losses are on the page of a run now. Draw it by `python -m scripts.report.html --run "
            f"{Path(losses).parent}`, and leave --losses out here."
        )
    with ExitStack() as files:
        volume, found = read_volume(image, image_dataset)
        stored = None if maps is None else files.enter_context(closing(open_volume(maps, ndim=4)))
        plan = _plan(maps or instances)
        stated = [] if stored is None else list(stored.channel_names)
        names = [name for name in stated or channels_of(plan) if name != "image"]
        draw_report(
            out,
            volume,
            maps=stored,
            instances=None if instances is None else read_label(instances, image, image_dataset=image_dataset),
            truth=None if truth is None else read_label(truth, image, truth_dataset, image_dataset),
            scores=None if metrics is None else rows_of_scores(read_json(metrics)),
            voxel_size=voxel_size or found or (2.0, 1.0, 1.0),
            title=title or Path(image).name,
            map_names=map_names or names or ("foreground", "contour", "distance"),
            made="" if plan is None else plan_line(plan),
        )


def _plan(result: str | None) -> Plan | None:
    """The plan of maps or instances; one that cannot be read is a warning, since nothing else depends on it."""
    try:
        return None if result is None else result_plan(result)[1]
    except InputError as error:
        logger.warning("How the result was made is left out: %s", error)
        return None


def read_json(path: str) -> dict[str, Any]:
    """Read scores.

    Raises:
        InputError: no JSON, or no object.
    """
    try:
        metrics = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(metrics, dict):
        raise InputError(f"{path}: expected an object of scores (ap50, ...), found a {type(metrics).__name__}")
    return metrics
