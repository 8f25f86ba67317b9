"""Command line: ``python -m scripts.match_domains --image_x X --label_x L --image_y Y``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scripts.check.array import check_image, check_label
from scripts.check.pairing import check_training_roles
from scripts.command.flag import flag
from scripts.command.start import start
from scripts.dataset import volume_items
from scripts.match_domains.match import match_volumes
from scripts.match_domains.option import VoxelSize, refuse_far_apart, unexpanded, voxel_size
from scripts.match_domains.overlay import overlay_text, table_text
from scripts.match_domains.picture import draw_match
from scripts.transforms.scaling import checked_scale
from scripts.volume_io import read_label
from scripts.volume_io.files import load
from scripts.volume_io.replacement import write_text

__all__ = ["main"]


def main(
    image_x: str,
    label_x: str,
    image_y: str,
    out: str = "match.yaml",
    picture: str | None = None,
    reference: str = "x",
    diameter: float | None = None,
    resolution: Sequence[float] = (1.0, 0.5, 0.5),
    voxel_size_x: VoxelSize = None,
    voxel_size_y: VoxelSize = None,
    by_voxel_size: bool | str = True,
    expansion_y: float = 1.0,
    seed: int = 0,
) -> None:
    """Estimate object size, polarity and intensity range of X and Y; print, draw, and write an overlay.

    Of several volumes of a domain the first is looked at. Memory: the three volumes as they are stored, and some
    hundred MB.

    Args:
        image_x: labelled source (TIFF, HDF5, NIfTI).
        label_x: instances of X.
        image_y: unlabelled target.
        out: overlay for train.yaml and inference.yaml to write.
        picture: PNG to write; by default `out` with the extension .png.
        reference: the domain that keeps its resolution, x or y.
        diameter: bring both to this many voxels in the plane instead, whatever `resolution` says.
        resolution: factors z,y,x at which the network is to see the domain that keeps its resolution, and the other
            after its own factors. The default is for train.yaml. Give 1,1,1 for published.yaml.
        voxel_size_x: z,y,x in micrometres, where the file does not say or is wrong.
        voxel_size_y: the same for Y.
        by_voxel_size: false measures Y's objects in the image even where both voxel sizes are known.
        expansion_y: how many times larger the sample of Y was made; its voxel size is divided by it.
        seed: seed of the random places that are measured in large volumes.

    Raises:
        InputError: a volume is missing or not fit, the voxel sizes differ by a factor above 20, or an output cannot be
            written.
    """
    source_item, target_item = _first(image_x, label_x), _first(image_y)
    check_training_roles([source_item], [target_item])
    names = [source_item["image"], source_item["label"], target_item["image"]]
    volumes, sizes, units = _read(names)
    sizes = [voxel_size(voxel_size_x, "voxel_size_x") or sizes[0], voxel_size(voxel_size_y, "voxel_size_y") or sizes[2]]
    sizes[1] = unexpanded(sizes[1], expansion_y)
    if not flag(by_voxel_size, "by_voxel_size"):
        sizes = [None, None]
    units = [unit if given is None else "um" for unit, given in zip(units, (voxel_size_x, voxel_size_y), strict=True)]
    refuse_far_apart(sizes, [(names[0], units[0]), (names[2], units[1])])
    source, label, target = volumes
    match = match_volumes(source, label, target, *sizes, reference=reference, diameter=diameter, seed=seed)
    seen_at = checked_scale((1, 1, 1) if diameter is not None else resolution)
    for scale in (match.scale_x, match.scale_y):
        checked_scale(scale)
    drawing = picture or str(Path(out).with_suffix(".png"))
    print(table_text(match))
    draw_match(drawing, source, target, match)
    write_text(Path(out), overlay_text(match, [Path(name).name for name in names], seen_at))
    print(f"wrote {out} and {drawing}")


def _first(image: str, label: str | None = None) -> dict[str, str]:
    items = volume_items(image, label)
    if len(items) > 1:
        print(f"{items[0]['image']} is looked at, and {len(items) - 1} more of the same domain are not")
    return items[0]


def _read(names: Sequence[str]) -> tuple[list[np.ndarray], list[VoxelSize], list[str]]:
    """Read and check image X, label X and image Y; their voxel sizes, and the units in which both images state them."""
    label = read_label(names[1], names[0])
    source, target = load(names[0]), load(names[2])
    check_image(source.array, names[0])
    check_label(label, names[1])
    check_image(target.array, names[2])
    arrays = [source.array, label, target.array]
    return arrays, [source.voxel_size, None, target.voxel_size], [source.unit, target.unit]


if __name__ == "__main__":
    start(main)
