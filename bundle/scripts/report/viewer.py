"""What a reader moves through by a slider: sections of Y with its instances, and the panels of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scripts.report.colour import colour_instances
from scripts.report.frames import embedded, grey_frames, outline_frames, overlay_frames
from scripts.report.objects import Objects, measure_objects
from scripts.report.sections import Sections, parts_of
from scripts.volume_io import ChunkedVolume

__all__ = ["Viewer", "panel_viewer", "volume_viewers"]

PLANES = (("z", "y down, x across"), ("y", "z down, x across"), ("x", "z down, y across"))
PROPORTIONS = (2.0, 1.0, 1.0)
"""How long the sides (z, y, x) of a voxel are drawn where its size is not known."""


@dataclass(frozen=True)
class Viewer:
    """Pictures that lie over each other, and a slider that goes through them.

    Attributes:
        key: its name on the page.
        title: over it.
        alt: what the pictures show, for those who do not see them.
        captions: of each picture.
        layers: data URIs of each picture by the name of the layer, the lowest first.
        first: the picture that is shown first.
        width: of the picture in proportion to its height.
        places: where each picture lies along its axis, in [0, 1]; none for panels.
        voxels: along this axis; 0 for panels.
        micrometres: width of the picture, for a scale bar; None where it is not known.
    """

    key: str
    title: str
    alt: str
    captions: list[str]
    layers: dict[str, list[str]]
    first: int
    width: float
    places: list[float]
    voxels: int = 0
    micrometres: float | None = None

    @property
    def frames(self) -> dict[str, object]:
        """What the page's script needs."""
        names = ("alt", "captions", "layers", "places", "voxels", "micrometres")
        return {name: getattr(self, name) for name in names}


def volume_viewers(
    image: ChunkedVolume,
    instances: ChunkedVolume | None,
    truth: ChunkedVolume | None,
    voxel_size: Sequence[float] | None,
    in_um: bool = False,
) -> tuple[list[Viewer], dict[str, Objects]]:
    """Cut a volume along z, y and x, with its instances and labels laid over it, and measure both.

    Each volume is read once, part by part. Memory: one part (see `scripts.report.sections.parts_of`), and at most 20
    million values of sections: 80 MB for the image, and after it as much for each of the labels, twice that where they
    are 64 bits wide.

    Args:
        image: (Z, Y, X).
        instances: of the same shape.
        truth: labels of the same shape.
        voxel_size: (z, y, x) in micrometres, sets the proportions and the scale bars; None where it is not known.
        in_um: whether objects are measured in micrometres rather than in voxels.

    Returns:
        A viewer for each axis; and the objects of "instances" and "labels", as far as they are given.
    """
    sections = Sections(image.shape)
    for box, part in parts_of(image):
        sections.add(box, part)
    layers = [{"image": frames} for frames in grey_frames(sections.pictures)]
    objects, shown = {}, [stack.shape[0] // 2 for stack in sections.pictures]
    for name, labels in (("instances", instances), ("labels", truth)):
        if labels is not None:
            cut = Sections(labels.shape, labels.dtype)
            objects[name] = measure_objects(labels, voxel_size if in_um else None, cut.add)
            shown = [_densest(stack) for stack in cut.pictures]
            for layer, frames in zip(layers, _frames(name, cut), strict=True):
                layer[name] = frames
    return [_plane(axis, sections, layers[axis], shown[axis], voxel_size) for axis in range(3)], objects


def panel_viewer(cycle: str, panels: Sequence[tuple[int, Path]]) -> Viewer:
    """Go through the panels of a cycle, "x" or "y", over the iterations of the training."""
    other = "Y" if cycle == "x" else "X"
    way = f"{cycle.upper()} → {other} → {cycle.upper()}"
    alt = f"A patch of {cycle.upper()}, translated to {other} and back, and its maps"
    frames = [embedded(path, "jpeg") for _, path in panels]
    captions = [f"iteration {iteration:,}" for iteration, _ in panels]
    return Viewer(f"cycle-{cycle}", way, alt, captions, {"panel": frames}, len(frames) - 1, 0.0, [])


def _frames(name: str, cut: Sections) -> list[list[str]]:
    if name == "labels":
        return [outline_frames(stack) for stack in cut.pictures]
    colours = colour_instances([section for stack in cut.pictures for section in stack])
    return [overlay_frames(stack, colours) for stack in cut.pictures]


def _densest(stack: np.ndarray) -> int:
    """The section with most objects in it."""
    return int(np.argmax([np.count_nonzero(section) for section in stack]))


def _plane(
    axis: int, sections: Sections, layers: dict[str, list[str]], first: int, voxel_size: Sequence[float] | None
) -> Viewer:
    name, directions = PLANES[axis]
    places, side = sections.places[axis], sections.shape[axis]
    lengths = [count * step for count, step in zip(sections.shape, voxel_size or PROPORTIONS, strict=True)]
    height, width = (length for other, length in enumerate(lengths) if other != axis)
    captions = [f"{name} = {place} (0 to {side - 1})" for place in places]
    alt = f"Section of Y across {name}, {directions}"
    ends = [(place + 0.5) / side for place in places]
    title, known = f"{name} ({directions})", width if voxel_size else None
    return Viewer(f"plane-{name}", title, alt, captions, layers, first, width / height, ends, side, known)
