"""From two volumes to instances from Python: arrays become the files of the command, its results become arrays."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scripts.adapt.command import adapt_files
from scripts.adapt.stored import Stored, is_list
from scripts.checkpoint.weights import save_atomically
from scripts.command.address import expanded
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.plan.weights import plan_of_state, read_weights
from scripts.volume_io import read_volume
from scripts.volume_io.paths import is_name

__all__ = ["Adapted", "adapt"]


@dataclass(frozen=True)
class Adapted:
    """A model that was trained, and what it found; `segment(other, adapted)` segments further volumes with it.

    Attributes:
        instances: of Y, (Z, Y, X), whole numbers, 0 for background; a list where Y was a list.
        state: the state dict of the model, its plan in the metadata; `save` writes it as model.pt.
        plan: how the model sees volumes, and what it was trained on.
        table: the columns of instances.csv, each with a value for each instance of all volumes; `volume` names them.
        figures: what result.json holds: scores where there were labels of Y, seconds, versions.
        folder: with all files of the command; None where nothing was to be written.
    """

    instances: Any
    state: Mapping[str, Any]
    plan: Plan | None
    table: Mapping[str, np.ndarray]
    figures: Mapping[str, Any]
    folder: Path | None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the weights with their plan, as a training writes model.pt.

        Raises:
            InputError: the file cannot be written.
        """
        save_atomically(self.state, path)


def adapt(
    image_x: Any,
    label_x: Any,
    image_y: Any,
    *,
    effort: str = "quick",
    output_dir: str | os.PathLike[str] | None = None,
    label_y: Any = None,
    voxel_size_x: Sequence[float] | None = None,
    voxel_size_y: Sequence[float] | None = None,
    **keys: Any,
) -> Adapted:
    """Train on labelled volumes X and unlabelled volumes Y, and find the instances in Y, as `python -m scripts.adapt`.

    Without `output_dir` all happens in a temporary folder, which is gone afterwards, also after an interruption. With
    it, all results of the command are there, arrays are stored in its folder `volumes`, and the same call resumes.
    Commands that run meanwhile print on the terminal where Python was started.

    Disk: the arrays, and about 8 bytes for each voxel of Y. Memory: as much as the command's training takes.

    Args:
        image_x: labelled source: an array (Z, Y, X), the name of a file, or a list of these.
        label_x: its instances, whole numbers, in the same order.
        image_y: unlabelled target.
        effort: quick (half an hour on two cores), standard (three hours), published (the paper's setting, for a GPU).
        output_dir: folder of the results; None: nothing is kept but what is returned.
        label_y: instances of Y, where there are some; they only score.
        voxel_size_x: (z, y, x) in micrometres, where X is an array, or a file that does not say.
        voxel_size_y: the same of Y.
        **keys: further flags of the command, such as `config` or `diameter`, and keys of train.yaml.

    Raises:
        InputError: something is not as expected, before any work; or one of the commands failed.
        StoppedError: Ctrl-C or SIGTERM came.
    """
    given = {"image_x": image_x, "label_x": label_x, "image_y": image_y}
    given |= {} if label_y is None else {"label_y": label_y}
    sizes = {"voxel_size_x": voxel_size_x, "voxel_size_y": voxel_size_y}
    with _folder(output_dir) as folder:
        stored = Stored(given, sizes, folder / "volumes")
        written = stored.write()
        try:
            flags = {**stored.names, **stored.flags, **_plain(keys)}
            figures = adapt_files(output_dir=str(folder), effort=effort, **flags)
        except InputError:
            if not (folder / "settings.json").exists():  # nothing was begun, so nothing stays
                _remove(written)
            raise
        return _result(figures, folder, is_list(image_y), folder if output_dir is not None else None)


@contextmanager
def _folder(output_dir: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folder that is asked for, or one that is gone afterwards."""
    if output_dir is not None:
        yield Path(expanded(output_dir)).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="adapt_", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a command line has them: arrays as lists, paths as texts."""
    plain = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in keys.items()}
    return {key: os.fspath(value) if is_name(value) else value for key, value in plain.items()}


def _remove(files: Sequence[Path]) -> None:
    """Remove files, and the folders that are empty then."""
    for path in files:
        path.unlink()
    for folder in {parent: None for path in files for parent in (path.parent, path.parent.parent)}:
        with suppress(OSError):
            folder.rmdir()


def _result(figures: Mapping[str, Any], folder: Path, several: bool, kept: Path | None) -> Adapted:
    found = [read_volume(folder / volume["files"][1])[0] for volume in figures["volumes"]]
    state = read_weights(folder / "model.pt")
    plan, table = plan_of_state(state, folder / "model.pt"), _columns(folder / "instances.csv")
    return Adapted(found if several else found[0], state, plan, table, figures, kept)


def _columns(path: Path) -> dict[str, np.ndarray]:
    """A table by columns: numbers where all of a column are; a value that is missing is NaN."""
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    columns = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    texts = ("volume",)
    return {name: np.array(values) if name in texts else _numbers(values) for name, values in columns.items()}


def _numbers(values: Sequence[str]) -> np.ndarray:
    try:
        return np.array([int(value) for value in values])
    except ValueError:
        return np.array([float(value or "nan") for value in values])
