"""Command line: ``python -m scripts.viewer --image Y.ome.zarr --instances instances.ome.zarr``, in Neuroglancer.

Served on this machine alone: the package neuroglancer brings the page, and nothing is asked of the network.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.command.start import start
from scripts.errors import InputError
from scripts.volume_io import open_volume, split_dataset

__all__ = ["StoreServer", "main", "open_viewer"]


class StoreServer(ThreadingHTTPServer):
    """Hands out the files of Zarr stores, and no others, to programs on this machine that know its token.

    A web page that is open in the same browser can send requests to this machine too. So a random token is the first
    part of each path, the Host header must be this server (against rebinding of names), and a request that a page
    sends is answered only where the page is the viewer.

    Attributes:
        token: first part of each path.
        origin: of the page that may read the answers, "http://127.0.0.1:port"; None: no page may.

    Args:
        stores: folders by the name under which they are asked for.
        port: 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, stores: Mapping[str, Path], port: int = 0) -> None:
        self.stores = {name: path.resolve() for name, path in stores.items()}
        self.token = secrets.token_urlsafe(32)
        self.origin: str | None = None
        super().__init__(("127.0.0.1", port), _StoreHandler)

    def address(self, name: str) -> str:
        """Return the source of a store as Neuroglancer names it."""
        return f"zarr://http://{self.host}/{self.token}/{name}"

    @property
    def host(self) -> str:
        """What a client must give as its Host header."""
        return f"127.0.0.1:{self.server_address[1]}"


class _StoreHandler(SimpleHTTPRequestHandler):
    server: StoreServer

    def parse_request(self) -> bool:
        """Refuse requests of other pages, and those that a name of another server led here."""
        if not super().parse_request():
            return False
        origins = self.headers.get_all("Origin", [])
        if self.headers.get_all("Host") == [self.server.host] and origins in ([], [self.server.origin]):
            return True
        self.send_error(HTTPStatus.FORBIDDEN)
        return False

    def translate_path(self, path: str) -> str:
        """A file of a store; "", which is none, for all that leads elsewhere or comes without the token."""
        token, _, asked = path.removeprefix("/").partition("?")[0].partition("/")
        name, _, rest = asked.partition("/")
        known = secrets.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        root = self.server.stores.get(name) if known else None
        try:
            file = (root / rest).resolve() if root else None
            return str(file) if file and root and file.is_relative_to(root) and file.is_file() else ""
        except (OSError, ValueError):  # a name that is too long, or with a null character
            return ""

    def end_headers(self) -> None:
        """Let the viewer's page, which another port serves, read the answer, and no other page."""
        if self.server.origin:
            self.send_header("Access-Control-Allow-Origin", self.server.origin)
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: there are thousands of chunks."""


def open_viewer(server: StoreServer, port: int = 0) -> Any:
    """Return a viewer whose layers are the stores of a server, "instances" as a segmentation; its page may read them.

    Raises:
        InputError: the package neuroglancer is missing.
    """
    try:
        import neuroglancer
    except ImportError as error:
        raise InputError('Neuroglancer is missing. Install it: pip install "neuroglancer>=2.40".') from error
    neuroglancer.set_server_bind_address("127.0.0.1", port)
    viewer = neuroglancer.Viewer()
    page = urlsplit(viewer.get_viewer_url())
    server.origin = f"{page.scheme}://{page.netloc}"
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
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--{name} {path}: expected the folder of an OME-Zarr; other formats are not served.")
    open_volume(path)  # says, too, where there is no such folder
    return folder


if __name__ == "__main__":
    start(main)
