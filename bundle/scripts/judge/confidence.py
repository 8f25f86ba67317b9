"""The command that says how far each instance can be trusted: ``python -m scripts.judge.confidence``.

Example::

    python -m scripts.judge.confidence --image Y.tif --instances out/Y_instances.tif --model model.pt --output_dir out
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scripts.command.address import expanded
from scripts.command.start import start
from scripts.errors import InputError
from scripts.judge.consistency import predictor_of
from scripts.judge.doubt import COLUMNS as PLACES
from scripts.judge.doubt import doubts, is_telling
from scripts.judge.instance import BLOCK, Confidence, confidence_of
from scripts.judge.paint import painted, write_sure
from scripts.volume_io import (
    ChunkedVolume,
    check_results,
    check_writable,
    list_volumes,
    open_label,
    open_volume,
    result_stem,
    write_volume,
)
from scripts.volume_io.paths import check_place
from scripts.volume_io.replacement import write_table
from scripts.volume_io.unit import as_voxel_size

__all__ = ["COLUMNS", "Written", "check_share", "confidence_files", "write_confidence"]

COLUMNS = ("id", "confidence", "evidence")


class Written(NamedTuple):
    """What is written for a volume: two tables, the volume for viewers, and the sure instances."""

    table: Path
    doubts: Path
    shown: Path
    sure: Path


def write_confidence(
    image: str | Sequence[str],
    instances: str | Sequence[str],
    model: str,
    output_dir: str,
    min_confidence: float | None = None,
    output_ext: str = ".tif",
    block: Sequence[int] = BLOCK,
    voxel_size: Sequence[float] | None = None,
) -> None:
    """Say how far each instance can be trusted: the share of perturbed segmentations in which it is found again.

    For each volume it writes NAME_confidence.csv with a row for each instance: its confidence, and its evidence, the
    share of it that stands out in the image alone; NAME_doubts.csv with the places to look at, where an instance was
    probably invented, or an object lost; and NAME_confidence.tif for viewers: in each instance its confidence in
    percent, 1 for one that is never found again, 0 for background. With `min_confidence` it also writes NAME_sure.tif,
    the instances that have at least this confidence, with their ids.

    Three perturbations are made: gamma 1.25, channel dropout of 0.2, and a turn by 180°. Memory: 68 bytes per voxel of
    a block with its halo, most of them while lost objects are looked for; and 1 byte per voxel of the volume, or as
    many as its labels have.

    Args:
        image: volumes of Y: a file (TIFF, HDF5, NIfTI, Zarr), a pattern or a list.
        instances: what inference with the model found in them, in the same order.
        model: the weights that found them, model.pt.
        output_dir: folder for the results; files of these names are replaced.
        min_confidence: from 0 to 1.
        output_ext: .tif, .ome.tif, .h5, .nii, .nii.gz, .zarr or .ome.zarr.
        block: voxels (z, y, x) that are segmented at once, at most.
        voxel_size: z,y,x in micrometres, for the places, where the files of the images do not say or are wrong.

    Raises:
        InputError: a file is missing or does not fit, or the results cannot be written.
    """
    images, found = list_volumes(image), list_volumes(instances)
    if len(images) != len(found):
        raise InputError(f"--instances: found {len(found)} volumes, expected {len(images)}, one for each --image.")
    check_share(min_confidence)
    if voxel_size is not None and (size := as_voxel_size(voxel_size)) is None:
        raise InputError(f"--voxel_size: found {voxel_size}, expected three positive micrometres z,y,x.")
    folder = Path(expanded(output_dir))
    check_results(images, folder)
    predictor = predictor_of(model)
    with ExitStack() as files:
        pairs = []
        for name, label in zip(images, found, strict=True):
            opened = files.enter_context(closing(open_volume(name)))
            pairs.append((opened, files.enter_context(closing(open_label(label, opened)))))
        targets = [confidence_files(name, folder, output_ext) for name in images]
        _check_targets(targets, found)
        for (volume, labels), paths in zip(pairs, targets, strict=True):
            known = confidence_of(predictor, volume, labels, block)
            _write_one(known, volume, labels, paths, None if voxel_size is None else size)
            if min_confidence is not None:
                is_sure = known.confidence >= min_confidence
                write_sure(paths.sure, volume, labels, known.ids, is_sure, predictor.plan)
                print(f"{np.count_nonzero(is_sure)} of {min_confidence:g} or more in {paths.sure}", flush=True)


def check_share(min_confidence: float | None) -> None:
    """See that the least confidence is None or a share.

    Raises:
        InputError: it is not.
    """
    number = isinstance(min_confidence, int | float) and not isinstance(min_confidence, bool)
    if min_confidence is not None and not (number and 0 <= min_confidence <= 1):
        raise InputError(f"--min_confidence: found {min_confidence}, expected a number from 0 to 1.")


def confidence_files(image: str, folder: Path, extension: str = ".tif") -> Written:
    """Return what is written for a volume."""
    stem = result_stem(image)
    tables = (folder / f"{stem}_{name}.csv" for name in ("confidence", "doubts"))
    return Written(*tables, *(folder / f"{stem}_{name}{extension}" for name in ("confidence", "sure")))


def _check_targets(targets: Sequence[Written], instances: Sequence[str]) -> None:
    """See that all can be written, and that no result replaces an input.

    Raises:
        InputError: one cannot, or it would.
    """
    given = {Path(name).resolve() for name in instances}
    for written in targets:
        check_place(written.table)
        check_place(written.doubts)
        for path in (written.shown, written.sure):
            check_writable(path)
            if path.resolve() in given:
                raise InputError(f"{path}: is given as instances and would be replaced. Choose another --output_dir.")


def _write_one(
    found: Confidence, image: ChunkedVolume, labels: ChunkedVolume, paths: Written, size: Sequence[float] | None
) -> None:
    """Write all but the sure instances, and print a line."""
    paths.table.parent.mkdir(parents=True, exist_ok=True)
    percent = np.maximum(1, np.rint(100 * found.confidence)).astype(np.uint8)
    write_volume(paths.shown, painted(labels, found.ids, percent), image.voxel_size)
    places = doubts(found, size or image.voxel_size)
    write_table(paths.doubts, places, PLACES)
    shares = (["" if math.isnan(share) else f"{share:.4g}" for share in column] for column in _columns(found))
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in zip(map(str, found.ids.tolist()), *shares, strict=True)]
    write_table(paths.table, rows, COLUMNS)
    mean = found.confidence.mean() if len(found.ids) else 0
    invented = sum(place["kind"] == "invented" for place in places)
    print(
        f"{image.name}: {len(found.ids)} instances, mean confidence {mean:.2f}; probably {invented} invented and "
        f"{len(places) - invented} objects lost: {paths.doubts}"
        + ("" if is_telling(found) else "; the image alone does not tell objects from what is around them"),
        flush=True,
    )


def _columns(found: Confidence) -> tuple[list[float], list[float]]:
    return found.confidence.tolist(), found.evidence.tolist()


if __name__ == "__main__":
    start(write_confidence)
