"""Blocks given to the workers of a Dask cluster, to which the bundle's code is sent."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from scripts.errors import InputError

__all__ = ["Cluster", "dask_cluster", "difference"]

logger = logging.getLogger(__name__)
PACKAGE = Path(__file__).resolve().parents[1]
COMPARED = ("numpy", "torch", "monai", "scipy", "scikit-image", "zarr", "h5py", "fastremap", "edt")
"""Distributions on which the voxels of a result depend."""


class Cluster:
    """A client of a Dask scheduler whose workers have the bundle's code.

    Args:
        client: connected.

    Raises:
        InputError: a worker has another Python, or cannot take the code.
    """

    def __init__(self, client: Any) -> None:
        self.client, self.name = client, ""
        self._check_python()
        self._send_code()
        self._warn_of_versions()

    def run(self, work: Callable[[int], Any], blocks: Sequence[int]) -> Iterator[int]:
        """Do a stage's work in blocks and yield each number when it is done; what a dying worker had is done again.

        Raises:
            InputError: workers died repeatedly, lack a package, or the scheduler ended; or what the work raises.
        """
        import cloudpickle
        from distributed import CancelledError, as_completed
        from distributed.scheduler import KilledWorker

        task = _task(self.name, cloudpickle.dumps(work))
        futures = dict(zip(self.client.map(task, blocks, pure=False), blocks, strict=True))
        try:
            for future in as_completed(list(futures)):
                future.result()
                yield futures[future]
        except KilledWorker as error:
            raise InputError(
                f"workers died repeatedly at one block: {error}. See their logs; is memory short?"
            ) from error
        except ImportError as error:
            raise InputError(f"Dask: {error}. Workers need the environment of the bundle.") from error
        except CancelledError as error:
            advice = "What is finished is kept: repeat the command when it runs again."
            raise InputError(f"the Dask scheduler ended, or it dropped the work. {advice}") from error
        finally:
            if self.client.status == "running":
                self.client.cancel(list(futures))

    def _check_python(self) -> None:
        """Compare Python's versions before any code is sent: code is sent as bytecode, which only fits its version."""
        own = platform.python_version_tuple()[:2]
        workers: Mapping[str, Any] = self.client.get_versions()["workers"]
        for address, found in workers.items():
            version = found["host"]["python"]
            if tuple(version.split(".")[:2]) != own:
                raise InputError(
                    f"Dask worker {address} has Python {version}, this command {'.'.join(own)}. "
                    "Start workers and command in the same environment."
                )
        if not workers:
            logger.warning("%s: no worker has joined yet. Waiting for one.", self.client.scheduler.address)

    def _send_code(self) -> None:
        import cloudpickle
        from scripts.blockwise import shipment

        cloudpickle.register_pickle_by_value(shipment)
        try:
            plugin = shipment.Shipment(PACKAGE.name, shipment.zipped(PACKAGE))
            self.client.register_plugin(plugin, name=plugin.name)
        except Exception as error:  # whatever a worker raised
            raise InputError(f"a Dask worker cannot take the bundle's code: {error}. See its log.") from error
        finally:
            cloudpickle.unregister_pickle_by_value(shipment)
        self.name = plugin.name

    def _warn_of_versions(self) -> None:
        own = _versions(COMPARED)()
        for address, found in self.client.run(_versions(COMPARED)).items():
            if differing := difference(own, found):
                logger.warning("Dask worker %s has %s: results may differ.", address, differing)


@contextmanager
def dask_cluster(scheduler: str, workers: int) -> Iterator[Cluster]:
    """Connect to a scheduler, and close the connection at the end.

    Args:
        scheduler: "tcp://host:port", or "local" for a cluster on this machine that ends with the connection.
        workers: of the local cluster.

    Raises:
        InputError: Dask is not installed, or does not answer; or see `Cluster`.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(f"--scheduler {scheduler} needs Dask: pip install distributed.") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler: our line, not its traceback
    if scheduler == "local":
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local,
            Client(local) as client,
        ):
            yield Cluster(client)
        return
    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler}: {error}. Expected tcp://host:port, or local."
        ) from error
    with client:
        yield Cluster(client)


def difference(own: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Return the distributions whose versions at a worker are others, "" where there are none."""
    return ", ".join(f"{name} {found[name]} (here {own[name]})" for name in own if found[name] != own[name])


def _task(name: str, work: bytes) -> Callable[[int], None]:
    """Return a function that the scheduler and a worker can unpickle without the bundle: one within another is sent."""

    def run(block: int) -> None:
        from distributed import get_worker

        shipment: Any = get_worker().plugins[name]
        shipment.run(work, block)

    return run


def _versions(names: Sequence[str]) -> Callable[[], dict[str, str]]:
    """Return a function, to be sent as that of `_task`, that returns the versions of distributions."""

    def versions() -> dict[str, str]:
        found = {}
        for name in names:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "none"
        return found

    return versions
