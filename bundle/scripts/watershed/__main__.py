"""Command line: ``python -m scripts.watershed --pred P --out S``, HDF5 maps to a volume of instances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scripts.command.start import start
from scripts.plan import Plan
from scripts.plan.file import METADATA, read_plan
from scripts.volume_io import check_writable, read_channel_names, read_maps, read_volume, write_volume
from scripts.watershed.channel import first_map
from scripts.watershed.choice import choose, with_decoder
from scripts.watershed.stage import stage_bar

__all__ = ["main"]


def main(
    pred: str,
    out: str,
    dataset: str | None = None,
    seeds: str | None = None,
    target: str | None = None,
    **options: Any,
) -> None:
    """Decode maps to a volume of instances: without a flag, as the inference that wrote the maps did.

    Maps carry their plan: the target and every threshold that inference used. Flags override the plan, and a line says
    which value is from where. HDF5 and Zarr outputs carry the plan with the thresholds that were used. Ids count from 1
    without gaps, in the order of the seeds' first voxels.

    Further flags, with their defaults for maps without a plan: seed_foreground 0.9, seed_contour 0.2, mask_foreground
    0.7, seed_distance 0.5, mask_distance -0.1, min_seed_size 32, min_instance_size 256, small_mode background (none,
    neighbor, background_2d, neighbor_2d), scale_factors 1,1,1 (z,y,x), height foreground (distance), ties raster
    (heap).
    Target bc has seed_foreground 0.9, seed_contour 0.8, mask_foreground 0.85, min_instance_size 128, and no distance.
    Target affinity has seed_affinity 0.9 and mask_affinity 0.5 instead of foreground, contour and distance.
    docs/reference/KEYS.md explains them under `decoder`.

    Args:
        pred: HDF5 or Zarr, (C, Z, Y, X), with or without the translated image before the maps: foreground, contour,
            distance for target bcd; foreground, contour for bc; three affinities or more for affinity.
        out: file for the instances; its extension says the format: .tif, .ome.tif, .h5, .nii, .nii.gz, .zarr or
            .ome.zarr.
        dataset: name of the maps in the file; by default the only one that fits.
        seeds: a volume of seeds to flood from, instead of those found. Instances keep the ids of their seeds.
        target: what the maps are, bcd, bc or affinity; by default what their plan says, or bcd. A file that names its
            channels must agree.
        options: flags of the watershed, listed above.

    Raises:
        InputError: when a file or a flag does not fit.
    """
    plan = read_plan(pred)
    chosen = choose(pred, plan, target, options, ("pred", "out", "dataset", "seeds", "target"))
    check_writable(out)
    print(chosen, flush=True)
    decoder = chosen.decoder
    with stage_bar("read", more=1) as on_stage:
        names = read_channel_names(pred, dataset)
        maps, voxel_size = read_maps(pred, dataset)
        given = None if seeds is None else read_volume(seeds)[0]
        maps = maps[first_map(pred, len(maps), names, decoder.map_names) :]
        labels = decoder.decode(maps, seeds=given, on_stage=on_stage, **decoder.options)
        on_stage("write")
        size = _scaled(voxel_size, decoder.options["scale_factors"])
        kept = {METADATA: with_decoder(plan or Plan({}), decoder).to_text()}
        write_volume(out, labels, size, labels=True, attributes=kept)
    print(f"{np.count_nonzero(np.unique(labels))} instances in {Path(out)}")


def _scaled(voxel_size: tuple[float, ...] | None, factors: tuple[float, ...]) -> tuple[float, ...] | None:
    """Voxel size after the labels were resized."""
    return voxel_size and tuple(edge / factor for edge, factor in zip(voxel_size, factors, strict=True))


if __name__ == "__main__":
    start(main)
