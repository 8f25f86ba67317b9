"""The command that says how far each instance can be trusted: ``python -m scripts.judge.confidence``.

Example::

    python -m scripts.judge.confidence --image Y.tif --instances out/Y_instances.tif --model model.pt --output_dir out
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from scripts.command.address import expanded
from scripts.command.start import start
from scripts.errors import InputError
from scripts.judge.consistency import predictor_of
from scripts.judge.instance import BLOCK, confidence_of
from scripts.plan.file import METADATA, read_plan
from scripts.predictor import Predictor
from scripts.report.sections import parts_of
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

__all__ = ["COLUMNS", "confidence_files", "write_confidence"]

COLUMNS = ("id", "confidence")


def write_confidence(
    image: str | Sequence[str],
    instances: str | Sequence[str],
    model: str,
    output_dir: str,
    min_confidence: float | None = None,
    output_ext: str = ".tif",
    block: Sequence[int] = BLOCK,
) -> None:
    """Say how far each instance can be trusted: the share of six perturbed segmentations in which it is found again.

    For each volume it writes NAME_confidence.csv with a row for each instance, and NAME_confidence.tif for viewers: in
    each instance its confidence in percent, 1 for one that is never found again, 0 for background. With
    `min_confidence` it also writes NAME_sure.tif, the instances that have at least this confidence, with their ids.

    Memory: 40 bytes per voxel of a block with its halo; and 1 byte per voxel of the volume, or as many as
    its labels have.

    Args:
        image: volumes of Y: a file (TIFF, HDF5, NIfTI, Zarr), a pattern or a list.
        instances: what inference with the model found in them, in the same order.
        model: the weights that found them, model.pt.
        output_dir: folder for the results; files of these names are replaced.
        min_confidence: from 0 to 1.
        output_ext: .tif, .ome.tif, .h5, .nii, .nii.gz, .zarr or .ome.zarr.
        block: voxels (z, y, x) that are segmented at once.

    Raises:
        InputError: a file is missing or does not fit, or the results cannot be written.
    """
    images, found = list_volumes(image), list_volumes(instances)
    if len(images) != len(found):
        raise InputError(f"--instances: found {len(found)} volumes, expected {len(images)}, one for each --image.")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise InputError(f"--min_confidence: found {min_confidence}, expected a number from 0 to 1.")
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
            _write_one(predictor, volume, labels, paths, min_confidence, block)


def confidence_files(image: str, folder: Path, extension: str = ".tif") -> tuple[Path, Path, Path]:
    """Return what is written for a volume: the table, the volume for viewers, and the sure instances."""
    stem = result_stem(image)
    return (
        folder / f"{stem}_confidence.csv",
        folder / f"{stem}_confidence{extension}",
        folder / f"{stem}_sure{extension}",
    )


def _check_targets(targets: Sequence[tuple[Path, Path, Path]], instances: Sequence[str]) -> None:
    """See that all can be written, and that no result replaces an input.

    Raises:
        InputError: one cannot, or it would.
    """
    given = {Path(name).resolve() for name in instances}
    for table, *volumes in targets:
        check_place(table)
        for path in volumes:
            check_writable(path)
            if path.resolve() in given:
                raise InputError(f"{path}: is given as instances and would be replaced. Choose another --output_dir.")


def _write_one(
    predictor: Predictor,
    image: ChunkedVolume,
    labels: ChunkedVolume,
    paths: tuple[Path, Path, Path],
    least: float | None,
    block: Sequence[int],
) -> None:
    found = confidence_of(predictor, image, labels, block)
    table, shown, sure = paths
    table.parent.mkdir(parents=True, exist_ok=True)
    percent = np.maximum(1, np.rint(100 * found.confidence)).astype(np.uint8)
    write_volume(shown, _looked_up(labels, found.ids, percent), image.voxel_size)
    line = f"{len(found.ids)} instances, mean confidence {found.confidence.mean() if len(found.ids) else 0:.2f}"
    if least is not None:
        kept = np.where(found.confidence >= least, found.ids, 0).astype(labels.dtype)
        plan = read_plan(labels.name) or predictor.plan
        attributes = {METADATA: plan.to_text()}
        write_volume(sure, _looked_up(labels, found.ids, kept), image.voxel_size, labels=True, attributes=attributes)
        line += f", {np.count_nonzero(kept)} of {least:g} or more in {sure}"
    pairs = zip(found.ids.tolist(), found.confidence.tolist(), strict=True)
    write_table(table, [{"id": id_, "confidence": f"{share:.4g}"} for id_, share in pairs], COLUMNS)
    print(f"{image.name}: {line}", flush=True)


def _looked_up(labels: ChunkedVolume, ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A volume with a value for each instance, 0 for background."""
    result = np.zeros(labels.shape, values.dtype)
    table = np.concatenate([np.zeros(1, values.dtype), values])
    for box, part in parts_of(labels):
        place = np.searchsorted(ids, part, side="right")
        result[box] = table[np.where(part > 0, place, 0)]
    return result


if __name__ == "__main__":
    start(write_confidence)
