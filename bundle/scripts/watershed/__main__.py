"""Command line: ``python -m scripts.watershed --pred P --out S``, HDF5 maps to a volume of instances."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.volume_io import check_writable, read_maps, read_volume, write_volume
from scripts.watershed.decode import bcd_watershed
from scripts.watershed.stage import stage_bar

__all__ = ["main"]


def main(pred: str, out: str, dataset: str | None = None, seeds: str | None = None, **options: Any) -> None:
    """Decode an HDF5 file of maps to a volume of instances.

    Further flags, with their defaults: seed_foreground 0.9, seed_contour 0.2, mask_foreground 0.7, seed_distance 0.5,
    mask_distance -0.1, min_seed_size 32, min_instance_size 256, small_mode background (none, neighbor, background_2d,
    neighbor_2d), scale_factors 1,1,1 (z,y,x), height foreground (distance). They are explained in scripts/watershed.

    Args:
        pred: HDF5 file, (3, Z, Y, X): foreground, contour, distance; or four, the translated image before them.
        out: file for the instances; its extension says the format: .tif, .ome.tif, .h5, .nii, .nii.gz.
        dataset: name of the maps in the file; by default the only one that fits.
        seeds: a volume of seeds to flood from, in place of those found.
        options: flags of the watershed, listed above.

    Raises:
        InputError: when a file or a flag does not fit.
    """
    _check_flags(options)
    check_writable(out)
    with stage_bar("read", more=1) as on_stage:
        maps, voxel_size = read_maps(pred, dataset)
        if len(maps) not in (3, 4):
            expected = "3 (foreground, contour, distance) or 4 (the translated image before them)"
            raise InputError(f"{pred}: found {len(maps)} channels, expected {expected}.")
        given = None if seeds is None else read_volume(seeds)[0]
        labels = bcd_watershed(maps[-3:], seeds=given, on_stage=on_stage, **options)
        on_stage("write")
        write_volume(out, labels, _scaled(voxel_size, options.get("scale_factors", (1, 1, 1))))
    print(f"{np.count_nonzero(np.unique(labels))} instances in {Path(out)}")


def _check_flags(options: dict[str, Any]) -> None:
    known = sorted(set(inspect.signature(bcd_watershed).parameters) - {"maps", "seeds", "return_seeds", "on_stage"})
    if unknown := sorted(set(options) - set(known)):
        flags = ", --".join(["pred", "out", "dataset", "seeds", *known])
        raise InputError(f"found flag --{unknown[0]}, expected --{flags}.")


def _scaled(voxel_size: tuple[float, ...] | None, factors: tuple[float, ...]) -> tuple[float, ...] | None:
    """Voxel size after the labels were resized."""
    return voxel_size and tuple(edge / factor for edge, factor in zip(voxel_size, factors, strict=True))


if __name__ == "__main__":
    import fire

    try:
        fire.Fire(main)
    except InputError as error:
        sys.exit(f"error: {error}")
