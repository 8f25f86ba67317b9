"""Before any block: can the volume be predicted this way, and can the maps be written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.table import check_table
from scripts.check.run import check_decoder, check_folder
from scripts.dataset import volume_items
from scripts.errors import InputError
from scripts.inferer import MapInferer
from scripts.volume_io.grid import Grid

__all__ = [
    "check_block",
    "check_blockwise",
    "check_intensity",
    "check_store",
    "checked_target",
    "one_volume",
    "refuse_evaluation",
]


def check_blockwise(
    image: str | Sequence[str | Mapping[str, Any]],
    maps: str,
    representation: Any = None,
    decoder: Any = None,
    label: str | Sequence[str] | None = None,
) -> None:
    """See that a volume can be predicted block by block; `predict_volume` sees to the rest before it starts.

    Args:
        image: one volume.
        maps: store of the maps.
        representation: the maps that the network predicts.
        decoder: what is to decode them.
        label: must not be given; evaluate.yaml gives it.

    Raises:
        InputError: the file is missing, there are several, the maps cannot be written, the decoder takes other maps,
            or there are labels.
    """
    if label is not None:
        refuse_evaluation()
    one_volume(image)
    check_decoder(representation, decoder)
    if not str(maps).endswith(".zarr"):
        raise InputError(f"maps: found {maps}, expected a Zarr store, a name ending in .zarr.")
    check_folder(Path(maps).expanduser().parent)


def refuse_evaluation() -> NoReturn:
    """Say that evaluation is not done block by block.

    Raises:
        InputError: always.
    """
    raise InputError(
        "evaluate.yaml scores volumes that fit into memory, which blockwise.yaml does without; expected one of the "
        "two. Score a part of the volume that has labels, cut from it, without blockwise.yaml."
    )


def one_volume(image: str | Sequence[str | Mapping[str, Any]]) -> str:
    """Return the volume that `image` means: a name, or an item of a dataset.

    Raises:
        InputError: there is none, or several.
    """
    images = [item["image"] for item in volume_items(image)]
    if len(images) != 1:
        raise InputError(f"image: found {len(images)} volumes, blockwise.yaml expects one. Start it for each of them.")
    return images[0]


def check_block(grid: Grid, inferer: MapInferer) -> None:
    """See that blocks are no smaller than a window; smaller ones would compute it again and again.

    Raises:
        InputError: they are; the least block is named.
    """
    least = [min(n, side) for n, side in zip(inferer.windows(grid.shape).size, grid.shape, strict=True)]
    if any(side < n for side, n in zip(grid.block, least, strict=True)):
        raise InputError(
            f"block: found {list(grid.block)}, expected at least {least} (z, y, x), which is a window in voxels of the "
            "volume; several times as much is faster."
        )


def check_intensity(ends: Sequence[float] | None) -> None:
    """See that an intensity range given by the user is one.

    Raises:
        InputError: it is not two numbers, the lower one first.
    """
    if ends is not None and not (len(ends) == 2 and float(ends[0]) < float(ends[1])):
        raise InputError(f"intensity_range: found {list(ends)}, expected two grey values, the lower one first.")


def check_store(out: Path, folder: WorkFolder, blocks: int) -> None:
    """See that a store and the folder that says what is done in it are both there, or neither.

    Raises:
        InputError: only one of them is.
    """
    there = out.exists()  # looked at before the folder: another shard makes the folder first
    begun = (folder.path / "settings.json").exists()
    if there and not begun:
        raise InputError(f"{out} exists already, and no {folder.path.name} says how it was made. Remove it.")
    if not there and any(folder.done("predict", block) for block in range(blocks)):
        raise InputError(f"{folder.path} says that blocks are done, but {out} is gone. Remove that folder, too.")


def checked_target(out: str | os.PathLike[str], table: str | os.PathLike[str] | None = None) -> tuple[Path, Path]:
    """Return the paths of the labels and of their table.

    Raises:
        InputError: another format, or one of them exists.
    """
    target = Path(os.path.expanduser(out)).absolute()
    if target.suffix != ".zarr":
        raise InputError(f"{target}: blocks are written to OME-Zarr; expected a name ending in .zarr.")
    stem = target.name.removesuffix(".zarr").removesuffix(".ome")
    rows = Path(os.path.expanduser(table)) if table else target.with_name(f"{stem}.csv")
    check_table(rows)
    for path, flag in ((target, "--out"), (rows, "--table")):
        if path.exists() and not WorkFolder(f"{target}.work").done("moving", 0):
            raise InputError(f"{path} exists already. Remove it, or name another {flag}.")
    return target, rows
