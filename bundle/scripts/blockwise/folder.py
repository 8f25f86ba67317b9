"""The folder of a run: its settings, what each finished block found, and who works in it.

A block's result is written after its voxels, under a temporary name first; that it is there says that the block is
done. So a run that was stopped anywhere, or killed, goes on where it was when the same command is given again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scripts.command.lock import Lock
from scripts.errors import InputError
from scripts.volume_io.replacement import write_npz, write_text

__all__ = ["WorkFolder"]


class WorkFolder:
    """Settings, results and locks of one run.

    Args:
        path: of the folder; made by `open`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # workers have other working directories

    def open(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, or see that it is that of a run with the same settings.

        Raises:
            InputError: the settings that were found there differ; they are named.
        """
        wanted = json.loads(json.dumps(dict(settings)))
        file = self.path / "settings.json"
        if not file.exists():
            write_text(file, json.dumps(wanted, indent=1))
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read: {error}. Remove {self.path} to begin anew.") from error
        if differing := [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]:
            pairs = "; ".join(f"{key}: {found.get(key)} there, {wanted.get(key)} now" for key in differing)
            raise InputError(
                f"{self.path} holds a run that was begun with other settings ({pairs}). Give those again to go on with "
                "it, name another --out, or remove that folder to begin anew."
            )

    def done(self, stage: str, block: int) -> bool:
        """Whether a block is finished in a stage."""
        return self._file(stage, block).exists()

    def save(self, stage: str, block: int, result: Mapping[str, np.ndarray]) -> None:
        """Keep what a stage found in a block: its voxels must be written before.

        Raises:
            InputError: it cannot be written (no space left, no permission).
        """
        write_npz(self._file(stage, block), result)

    def load(self, stage: str, block: int) -> dict[str, np.ndarray]:
        """Return what a stage found in a block.

        Raises:
            InputError: missing or damaged.
        """
        file = self._file(stage, block)
        try:
            with np.load(file, allow_pickle=False) as result:
                return dict(result)
        except Exception as error:  # zipfile, zlib, ValueError, OSError
            raise InputError(
                f"{file} cannot be read: {error}. Remove it, and run again: its block is redone."
            ) from error

    def remove(self) -> None:
        """Remove the folder, first of all its name: a part of it is never taken for the whole."""
        discarded = self.path.with_name(f".{self.path.name}.discarded")
        shutil.rmtree(discarded, ignore_errors=True)
        os.replace(self.path, discarded)
        shutil.rmtree(discarded)

    @contextmanager
    def locked(self, name: str = "run") -> Iterator[None]:
        """Keep a second process from doing the same work at the same time; a killed one's lock goes with it.

        Raises:
            InputError: another one does it, or the folder cannot be written.
        """
        with Lock(self.path / f"{name}.lock", self.path):
            yield

    def _file(self, stage: str, block: int) -> Path:
        return self.path / stage / f"{block:08d}.npz"
