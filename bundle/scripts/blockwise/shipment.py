"""The bundle's code as the workers of a Dask cluster receive it.

cloudpickle sends this module by value, since a worker has no `scripts` before the code is there. So nothing in it
imports `scripts` at the top.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import pickle
import shutil
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin

__all__ = ["Shipment", "zipped"]


class Shipment(WorkerPlugin):
    """Unpacks a package into the folder of each worker, imports it from there, and does its work.

    Dask gives it to the workers that are there, and to those that join or restart later. The name contains a sum of the
    code, so that a worker which holds another version of the package never works with that.

    Args:
        package: name of the package.
        code: what `zipped` returned.

    Attributes:
        name: under which workers keep it.
    """

    def __init__(self, package: str, code: bytes) -> None:
        self.package, self.code = package, code
        self.name = f"{package}-{hashlib.sha256(code).hexdigest()[:16]}"

    def setup(self, worker: Worker) -> None:
        """Unpack and import the package; Dask calls it."""
        self.worker, self.lock = worker.address, threading.Lock()
        self.folder = Path(worker.local_directory).absolute() / self.name
        with self.lock:
            self._activate()

    def run(self, work: bytes, block: int) -> None:
        """Do the work in a block.

        Args:
            work: pickled.
            block: its number.

        Raises:
            ImportError: the package cannot be imported, or the work not be read, in this worker's environment.
            Exception: what the work raises; the message of an InputError begins with the worker.
        """
        try:
            with self.lock:
                self._activate()
                function = pickle.loads(work)
        except Exception as error:
            raise ImportError(f"worker {self.worker}: {type(error).__name__}: {error}") from error
        try:
            function(block)
        except Exception as error:
            if type(error).__name__ == "InputError":
                error.args = (f"worker {self.worker}: {error}",)
            raise

    def _activate(self) -> None:
        """Make the package that is imported the one that was sent; modules of another version are dropped."""
        if not self.folder.is_dir():
            self._unpack()
        found = getattr(sys.modules.get(self.package), "__file__", None)
        if found is None or Path(found).parent.parent != self.folder:
            for name in [name for name in sys.modules if name.partition(".")[0] == self.package]:
                del sys.modules[name]
            sys.path[:] = [str(self.folder), *(path for path in sys.path if path != str(self.folder))]
            importlib.invalidate_caches()
            importlib.import_module(self.package)

    def _unpack(self) -> None:
        """Unpack under a temporary name: a part of the code is never taken for the whole."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = tempfile.mkdtemp(dir=self.folder.parent)
        try:
            with zipfile.ZipFile(io.BytesIO(self.code)) as archive:
                archive.extractall(unfinished)
            os.rename(unfinished, self.folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def zipped(package: Path) -> bytes:
    """Return the files of a package as a zip; the same files give the same bytes."""
    target = io.BytesIO()
    files = (file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(files):
            entry: Any = zipfile.ZipInfo(file.relative_to(package.parent).as_posix())
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()
