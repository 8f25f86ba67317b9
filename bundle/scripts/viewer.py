"""Command line: ``python -m scripts.viewer --image Y.ome.zarr --instances instances.ome.zarr``, in Neuroglancer.

Served on this machine alone: the package neuroglancer brings the page, and nothing is asked of the network.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.volume_io import open_volume, split_dataset

__all__ = ["StoreServer", "main", "open_viewer"]


class StoreServer(ThreadingHTTPServer):
    """Hands out the files of Zarr stores, and no others, to programs on this machine.

    Args:
        stores: folders by the name under which they are asked for.
        port: 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, stores: Mapping[str, Path], port: int = 0) -> None:
        self.stores = {name: path.resolve() for name, path in stores.items()}
        super().__init__(("127.0.0.1", port), _StoreHandler)

    def address(self, name: str) -> str:
        """Return the source of a store as Neuroglancer names it."""
        return f"zarr://http://127.0.0.1:{self.server_address[1]}/{name}"


class _StoreHandler(SimpleHTTPRequestHandler):
    server: StoreServer

    def translate_path(self, path: str) -> str:
        """A file of a store; "", which is none, for all that leads elsewhere."""
        name, _, rest = path.lstrip("/").partition("?")[0].partition("/")
        root = self.server.stores.get(name)
        file = (root / rest).resolve() if root else None
        return str(file) if file and root and file.is_relative_to(root) and file.is_file() else ""

    def end_headers(self) -> None:
        """Let the page, which another port serves, read the answer."""
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: there are thousands of chunks."""


def open_viewer(server: StoreServer, port: int = 0) -> Any:
    """Return a viewer whose layers are the stores of a server, "instances" as a segmentation.

    Raises:
        InputError: the package neuroglancer is missing.
    """
    try:
        import neuroglancer
    except ImportError as error:
        raise InputError('Neuroglancer is missing. Install it: pip install "neuroglancer>=2.40".') from error
    neuroglancer.set_server_bind_address("127.0.0.1", port)
    viewer = neuroglancer.Viewer()
    with viewer.txn() as state:
        for name in server.stores:
            kind = neuroglancer.SegmentationLayer if name == "instances" else neuroglancer.ImageLayer
            state.layers[name] = kind(source=server.address(name))
        state.layout = "4panel"
    return viewer


def main(instances: str | None = None, image: str | None = None, port: int = 0) -> None:
    """Show an image, instances or both; ends with Ctrl-C.

    Args:
        instances: OME-Zarr, as inference (--output_ext .ome.zarr) and scripts.blockwise write it.
        image: OME-Zarr.
        port: of the page; 0 takes a free one.

    Raises:
        InputError: neither is given, one is no Zarr store, or the package neuroglancer is missing.
    """
    given = {"image": image, "instances": instances}
    stores = {name: _store(name, path) for name, path in given.items() if path is not None}
    if not stores:
        raise InputError("found neither --instances nor --image, expected one of them or both.")
    with StoreServer(stores) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"{open_viewer(server, port).get_viewer_url()}\nOpen this address in a browser; Ctrl-C ends.", flush=True)
        threading.Event().wait()


def _store(name: str, path: str) -> Path:
    folder = split_dataset(path)[0]
    if not folder.is_dir():
        raise InputError(f"--{name} {path}: expected the folder of an OME-Zarr; other formats are not served.")
    open_volume(path)
    return folder


if __name__ == "__main__":
    import fire

    try:
        fire.Fire(main)
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
