"""The pair of volumes, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scripts.command.flag import flag
from scripts.errors import InputError
from scripts.example.electron import render_electron
from scripts.example.field import SPACING
from scripts.example.fluorescence import render_fluorescence
from scripts.example.look import ElectronLook, FluorescenceLook, varied
from scripts.example.shape import draw_nuclei
from scripts.volume_io import check_writable, read_volume, write_volume

__all__ = ["make_pair", "make_source", "write_pair"]


def make_pair(
    shape: Sequence[int] = (64, 192, 192), seed: int = 0, vary_look: bool | str = False
) -> dict[str, np.ndarray]:
    """Draw the pair.

    Args:
        shape: (Z, Y, X) of each of the volumes, in voxels of ``SPACING`` (z twice y and x).
        seed: the same seed gives the same voxels.
        vary_look: draw contrast, noise, haze and clutter too; else they are those of the demonstration.

    Returns:
        ``imageX`` and ``imageY`` (uint8), ``labelX`` and ``labelY`` (uint16, instances 1..N), each (Z, Y, X).
    """
    z, y, x = shape
    streams = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    rng_x, rng_y, rng_look = streams
    look_x, look_y = ElectronLook(), FluorescenceLook()
    if flag(vary_look, "vary_look"):
        look_x, look_y = varied(look_x, rng_look), varied(look_y, rng_look)
    label_x, label_y = draw_nuclei(rng_x, (z, y, x)), draw_nuclei(rng_y, (z, y, x))
    return {
        "imageX": render_electron(rng_x, label_x, look_x),
        "labelX": label_x,
        "imageY": render_fluorescence(rng_y, label_y, look_y),
        "labelY": label_y,
    }


def make_source(label: np.ndarray, seed: int = 0) -> np.ndarray:
    """Render the source over given shapes: labels (Z, Y, X) of voxels of ``SPACING`` to an EM-like image, uint8."""
    return render_electron(np.random.default_rng(seed), label, ElectronLook())


def write_pair(
    output_dir: str | Path,
    seed: int = 0,
    shape: Sequence[int] = (64, 192, 192),
    vary_look: bool | str = False,
    shapes: str | None = None,
) -> None:
    """Write the pair as imageX.tif, labelX.tif, imageY.tif and labelY.tif; only the scores may read the last one.

    Args:
        output_dir: made where it is not there.
        seed: see `make_pair`.
        shape: see `make_pair`.
        vary_look: see `make_pair`.
        shapes: a file of labels, whose shapes the source is then rendered over; only X is written.

    Raises:
        InputError: the shape is none, or the folder cannot be written, before any work.
    """
    folder = Path(output_dir)
    check_writable(folder / "imageX.tif")
    if len(shape) != 3 or any(side < 1 for side in shape):
        raise InputError(f"shape: found {tuple(shape)}, expected three sides z,y,x in voxels, such as 64,192,192.")
    folder.mkdir(parents=True, exist_ok=True)
    if shapes is None:
        volumes = make_pair(shape, seed, vary_look)
    else:
        label = read_volume(shapes)[0]
        volumes = {"imageX": make_source(label, seed), "labelX": label}
    for name, volume in volumes.items():
        write_volume(folder / f"{name}.tif", volume, voxel_size=SPACING, labels=name.startswith("label"))
