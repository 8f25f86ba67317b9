"""The table of instances, as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scripts.errors import InputError
from scripts.volume_io.replacement import replacing

__all__ = ["check_table", "columns_of", "write_table"]


def check_table(path: Path) -> None:
    """See that a table of this name can be written.

    Raises:
        InputError: another extension, or pyarrow is missing for Parquet.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: expected a table's name ending in .csv or .parquet.")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise InputError(f"{path}: Parquet needs pyarrow: pip install pyarrow, or name a .csv.") from error


def write_table(path: Path, instances: Mapping[str, np.ndarray], names: Sequence[str], scale: float) -> None:
    """Write one row for each instance.

    Args:
        path: .csv or .parquet; replaced once the new one is whole.
        instances: what `scripts.metrics.measure.join` returns, and `seed_voxels`, `seed_foreground` (sum).
        names: of the first two maps, or one.
        scale: that these are divided by to be in [0, 1].

    Raises:
        InputError: it cannot be written.
    """
    columns = columns_of(instances, names, scale)
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table(columns), temporary)
            return
        with temporary.open("w", encoding="utf-8") as file:
            form = ",".join("%.6g" if column.dtype.kind == "f" else "%d" for column in columns.values())
            file.write(",".join(columns) + "\n")
            file.writelines(f"{form}\n" % row for row in zip(*columns.values(), strict=True))


def columns_of(instances: Mapping[str, np.ndarray], names: Sequence[str], scale: float) -> dict[str, np.ndarray]:
    """Return the columns by name, see `write_table`; columns of seeds only where seeds were measured."""
    voxels = instances["voxels"]
    columns = {"id": instances["ids"], "voxels": voxels}
    for index, axis in enumerate("zyx"):
        columns[f"{axis}_start"], columns[f"{axis}_stop"] = instances["start"][:, index], instances["stop"][:, index]
    for index, axis in enumerate("zyx"):
        columns[f"{axis}_centroid"] = instances["position"][:, index] / voxels
    columns["touches_border"] = instances["border"].astype(np.uint8)
    for column, name in zip(("foreground", "contour"), names, strict=False):
        columns[f"mean_{name.replace(' ', '_')}"] = instances[column] / voxels / scale
    if "seed_voxels" not in instances:
        return columns
    columns["seed_voxels"] = instances["seed_voxels"]
    columns["seed_strength"] = instances["seed_foreground"] / np.maximum(1, instances["seed_voxels"]) / scale
    return columns
