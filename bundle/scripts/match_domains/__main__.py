"""Command line: ``python -m scripts.match_domains --image_x X --label_x L --image_y Y``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.dataset import volume_items
from scripts.errors import InputError
from scripts.flag import flag
from scripts.match_domains.match import match_volumes
from scripts.match_domains.overlay import overlay_text, table_text
from scripts.match_domains.picture import draw_match
from scripts.scaling import checked_scale
from scripts.start import start
from scripts.validation import check_image, check_label
from scripts.volume_io import read_label, read_volume

__all__ = ["main"]

VoxelSize = Sequence[float] | None


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
        label_x: its instances.
        image_y: unlabelled target.
        out: overlay for train.yaml and inference.yaml to write.
        picture: PNG to write; by default `out` with the extension .png.
        reference: the domain that keeps its resolution, x or y.
        diameter: bring both to this many voxels in the plane instead; `resolution` is then not asked.
        resolution: factors z,y,x at which the network is to see the domain that keeps its resolution, and the other
            after its own factors: those of train.yaml by default; 1,1,1 for published.yaml.
        voxel_size_x: z,y,x in micrometres, where the file does not say or is wrong.
        voxel_size_y: the same of Y.
        by_voxel_size: false measures Y's objects in the image even where both voxel sizes are known.
        expansion_y: how many times larger the sample of Y was made; its voxel size is divided by it.
        seed: of the places that are looked at in large volumes.

    Raises:
        InputError: a volume is missing or not fit, or an output cannot be written.
    """
    names = [_first(image_x, label_x)["image"], _first(image_x, label_x)["label"], _first(image_y)["image"]]
    volumes, sizes = _read(names)
    sizes = [_spacing(voxel_size_x, "voxel_size_x") or sizes[0], _spacing(voxel_size_y, "voxel_size_y") or sizes[2]]
    if not isinstance(expansion_y, int | float) or not 0 < expansion_y < float("inf"):
        raise InputError(f"expansion_y is {expansion_y!r}; expected a number above 0.")
    if sizes[1] is not None:
        sizes[1] = [size / expansion_y for size in sizes[1]]
    if not flag(by_voxel_size, "by_voxel_size"):
        sizes = [None, None]
    source, label, target = volumes
    match = match_volumes(source, label, target, *sizes, reference=reference, diameter=diameter, seed=seed)
    seen_at = checked_scale((1, 1, 1) if diameter is not None else resolution)
    drawing = picture or str(Path(out).with_suffix(".png"))
    print(table_text(match))
    draw_match(drawing, source, target, match)
    _write(out, overlay_text(match, [Path(name).name for name in names], seen_at))
    print(f"wrote {out} and {drawing}")


def _first(image: str, label: str | None = None) -> dict[str, str]:
    items = volume_items(image, label)
    if len(items) > 1:
        print(f"{items[0]['image']} is looked at, and {len(items) - 1} more of the same domain are not")
    return items[0]


def _read(names: Sequence[str]) -> tuple[list[np.ndarray], list[VoxelSize]]:
    """Read and check image X, label X and image Y."""
    label = read_label(names[1], names[0])
    (source, size_x), (target, size_y) = (read_volume(name) for name in (names[0], names[2]))
    check_image(source, names[0])
    check_label(label, names[1])
    check_image(target, names[2])
    return [source, label, target], [size_x, None, size_y]


def _spacing(value: VoxelSize, name: str) -> VoxelSize:
    if value is None:
        return None
    try:
        sizes = [float(size) for size in value]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) != 3 or not all(0 < size < float("inf") for size in sizes):
        raise InputError(f"{name} is {value!r}; expected three micrometres z,y,x above 0, such as 0.3,0.1,0.1.")
    return sizes


def _write(path: str, text: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    except OSError as error:
        raise InputError(f"{path}: cannot write the overlay ({error.strerror}); choose another place.") from error


if __name__ == "__main__":
    start(main)
