"""The command that writes one table of the instances of all volumes: ``python -m scripts.adapt.table``."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from scripts.blockwise.table import columns_of
from scripts.command.start import start
from scripts.errors import InputError
from scripts.judge.confidence import confidence_files
from scripts.metrics.measure import join, measure
from scripts.report.sections import parts_of
from scripts.volume_io import ChunkedVolume, list_volumes, open_volume, result_stem, short_name
from scripts.volume_io.paths import check_place
from scripts.volume_io.replacement import replacing

__all__ = ["SIZE", "write_instances"]

SIZE = "volume_um3"
"""Column of the size in µm³, empty where the voxel size is not known."""


def write_instances(
    image: str | Sequence[str],
    results: str,
    out: str = "instances.csv",
    voxel_size: Sequence[float] | None = None,
    expansion: float = 1.0,
) -> None:
    """Write one row for each instance of each volume: voxels, box, centroid, touches_border, mean maps, size and more.

    Places and lengths are in voxels of the volume, sizes in µm³. `confidence` is what `scripts.judge.confidence` wrote
    into the folder, empty where it wrote nothing. Memory: 12 bytes for each voxel of a part of about 17 million.

    Args:
        image: volumes that inference segmented.
        results: the folder where it wrote their maps and instances.
        out: the table, CSV.
        voxel_size: z,y,x in micrometres, where the files of the images do not say or are wrong.
        expansion: how many times larger the sample was made; sizes are those before.

    Raises:
        InputError: a file is missing or does not fit, or the table cannot be written.
    """
    target = Path(out)
    check_place(target)
    if not 0 < expansion < math.inf:
        raise InputError(f"--expansion: found {expansion}, expected a number above 0.")
    rows = 0
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        for number, name in enumerate(list_volumes(image)):
            columns = _measured(name, Path(results), voxel_size, expansion)
            if number == 0:
                table.writerow(columns)
            found = list(_rows(columns))
            table.writerows(found)
            rows += len(found)
    print(f"{rows} instances in {target}")


def _measured(name: str, folder: Path, voxel_size: Sequence[float] | None, expansion: float) -> dict[str, Any]:
    """The columns of a volume."""
    stem = result_stem(name)
    with ExitStack() as files:
        image = files.enter_context(closing(open_volume(name)))
        labels = files.enter_context(closing(open_volume(folder / f"{stem}_instances.tif")))
        maps = files.enter_context(closing(open_volume(folder / f"{stem}_maps.h5", ndim=4)))
        names = [channel for channel in maps.channel_names if channel != "image"]
        if maps.shape[1:] != labels.shape:
            raise InputError(f"{labels.name}: found shape {labels.shape}, expected {maps.shape[1:]} of {maps.name}.")
        found = join(_parts(labels, maps, maps.shape[0] - len(names)))
        size = voxel_size or image.voxel_size
    scale = 255.0 if maps.dtype.kind == "u" else 1.0
    columns = columns_of(found, names[:2], scale)
    whole = None if size is None else math.prod(size) / expansion**3
    volumes = [""] * len(found["ids"]) if whole is None else found["voxels"] * whole
    sure = _confidence(confidence_files(name, folder)[0], found["ids"])
    return {"volume": [short_name(name)] * len(found["ids"]), **columns, SIZE: volumes, "confidence": sure}


def _confidence(path: Path, ids: np.ndarray) -> list[str]:
    """The confidence of each instance, "" where there is no table of it.

    Raises:
        InputError: the table is of other instances.
    """
    if not path.is_file():
        return [""] * len(ids)
    with path.open(newline="", encoding="utf-8") as file:
        known = {row.get("id"): row.get("confidence") for row in csv.DictReader(file)}
    if [*known] != [str(id_) for id_ in ids.tolist()] or None in known.values():
        raise InputError(
            f"{path}: found the confidence of {len(known)} other instances, expected the {len(ids)} of the instances' "
            "file. Remove it, or run scripts.judge.confidence again."
        )
    return [str(share) for share in known.values()]


def _parts(labels: ChunkedVolume, maps: ChunkedVolume, first: int) -> Iterator[dict[str, np.ndarray]]:
    """The measures of each part, with the first two maps; `first` is where they begin."""
    for box, part in parts_of(labels):
        ids = part if part.dtype.kind in "iu" else part.astype(np.int64)
        yield measure(ids, maps[(slice(first, first + 2), *box)], box, labels.shape)


def _rows(columns: dict[str, Any]) -> Iterator[list[str]]:
    for row in zip(*columns.values(), strict=True):
        yield [f"{value:.6g}" if isinstance(value, float | np.floating) else str(value) for value in row]


if __name__ == "__main__":
    start(write_instances)
