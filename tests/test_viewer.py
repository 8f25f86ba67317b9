"""What viewers are given: volumes as independent readers understand them, and stores served to Neuroglancer."""

from __future__ import annotations

import http.client
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scripts.errors import InputError
from scripts.viewer import StoreServer, main, open_viewer
from scripts.volume_io import write_volume

VOXEL = (2.0, 0.5, 0.25)


@pytest.fixture
def labels() -> np.ndarray:
    array = np.zeros((4, 6, 8), np.uint16)
    array[1:3, 2:4, 5:7] = 300
    return array


# ---- other programs' readers -----------------------------------------------------------------------------------------
def test_nifti_is_read_as_itk_snap_and_slicer_read_it(tmp_path: Path, labels: np.ndarray) -> None:
    itk = pytest.importorskip("SimpleITK")
    write_volume(tmp_path / "a.nii.gz", labels, VOXEL)
    image = itk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert image.GetSpacing() == pytest.approx([0.25e-3, 0.5e-3, 2e-3])  # in millimetres, whatever the file's unit
    np.testing.assert_array_equal(itk.GetArrayFromImage(image), labels)


def test_tiff_is_valid_ome(tmp_path: Path, labels: np.ndarray) -> None:
    ome = pytest.importorskip("ome_types")
    write_volume(tmp_path / "a.ome.tif", labels, VOXEL)
    pixels = ome.from_tiff(tmp_path / "a.ome.tif", validate=False).images[0].pixels
    assert (pixels.size_z, pixels.size_y, pixels.size_x) == labels.shape
    assert (pixels.physical_size_z, pixels.physical_size_y, pixels.physical_size_x) == VOXEL
    assert {pixels.physical_size_z_unit.value, pixels.physical_size_x_unit.value} == {"µm"}


# ---- served to Neuroglancer ------------------------------------------------------------------------------------------
@pytest.fixture
def server(tmp_path: Path, labels: np.ndarray) -> Iterator[StoreServer]:
    write_volume(tmp_path / "a.ome.zarr", labels, VOXEL, labels=True)
    (tmp_path / "secret.txt").write_text("none of its business")
    (tmp_path / "a.ome.zarr" / "link").symlink_to(tmp_path / "secret.txt")
    with StoreServer({"instances": tmp_path / "a.ome.zarr"}) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


PAGE = "http://127.0.0.1:4567"


def answer_to(server: StoreServer, path: str, *headers: tuple[str, str], method: str = "GET") -> tuple[int, str | None]:
    """The status, and the page that may read the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_host=any(name == "Host" for name, _ in headers))
    for name, value in headers:
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Access-Control-Allow-Origin")


def status(server: StoreServer, path: str) -> int:
    """Of a path after the token."""
    return answer_to(server, f"/{server.token}{path}")[0]


def test_the_files_of_a_store_are_served(server: StoreServer) -> None:
    assert status(server, "/instances/.zattrs") == 200
    assert status(server, "/instances/0/.zarray") == 200
    assert server.address("instances") == f"zarr://http://{server.host}/{server.token}/instances"


def test_a_token_of_its_own_is_needed(server: StoreServer, tmp_path: Path) -> None:
    with StoreServer({"instances": tmp_path / "a.ome.zarr"}) as other:
        assert len(server.token) > 40 and server.token != other.token
    for token in ("", f"/{other.token}", f"/{server.token[:-1]}", f"/{server.token}%C3%A9", f"/x/{server.token}"):
        assert answer_to(server, f"{token}/instances/.zattrs")[0] == 404


def test_a_page_that_is_not_the_viewer_is_refused(server: StoreServer) -> None:
    path = f"/{server.token}/instances/.zattrs"
    assert answer_to(server, path, ("Origin", PAGE)) == (403, None)
    server.origin = PAGE
    assert answer_to(server, path, ("Origin", PAGE)) == (200, PAGE)
    assert answer_to(server, path) == (200, PAGE)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:4568", "https://127.0.0.1:4567", f"{PAGE}.evil"):
        assert answer_to(server, path, ("Origin", origin)) == (403, PAGE)
        assert answer_to(server, path, ("Origin", origin), method="HEAD")[0] == 403
        assert answer_to(server, path, ("Origin", PAGE), ("Origin", origin))[0] == 403


def test_a_name_that_leads_here_is_refused(server: StoreServer) -> None:
    """A page's own name may be made to lead to 127.0.0.1, and then it reads as the page's own server."""
    path, port = f"/{server.token}/instances/.zattrs", server.server_address[1]
    for host in ("", "evil.example", f"evil.example:{port}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1:{port}.evil"):
        assert answer_to(server, path, ("Host", host))[0] == 403
    assert answer_to(server, path, ("Host", server.host), ("Host", "evil.example"))[0] == 403
    assert answer_to(server, path, ("Host", server.host))[0] == 200
    assert answer_to(server, path, method="POST")[0] == 501


@pytest.mark.parametrize(
    "path", ["/", "/instances", "/instances/", "/instances/../secret.txt", "/instances/%2e%2e/secret.txt"]
)
def test_nothing_else_is_served(server: StoreServer, path: str) -> None:
    assert status(server, path) == 404


@pytest.mark.parametrize(
    "path",
    [
        "/instances/link",
        "/instances//etc/hostname",
        "/secret.txt",
        "/other/.zattrs",
        f"/instances/{'a' * 300}",
        "/instances/%00",
    ],
)
def test_nothing_outside_the_store_is_served(server: StoreServer, path: str) -> None:
    assert status(server, path) == 404


def test_layers_are_the_stores(server: StoreServer) -> None:
    neuroglancer = pytest.importorskip("neuroglancer")
    try:
        (layer,) = open_viewer(server).state.layers
        assert (layer.name, layer.layer.type) == ("instances", "segmentation")
        assert layer.layer.source[0].url == server.address("instances")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", str(server.origin))
    finally:
        neuroglancer.stop()


# ---- bad input -------------------------------------------------------------------------------------------------------
def test_a_missing_package_is_named(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    with pytest.raises(InputError, match=r"pip install .neuroglancer"):
        open_viewer(server)


def test_what_cannot_be_shown_is_said(tmp_path: Path, labels: np.ndarray) -> None:
    write_volume(tmp_path / "a.tif", labels)
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(InputError, match="found neither --instances nor --image"):
        main()
    with pytest.raises(InputError, match=r"--instances .*a\.tif: expected the folder of an OME-Zarr"):
        main(str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match=r"c\.zarr: no such file"):
        main(image=str(tmp_path / "c.zarr"))
    with pytest.raises(InputError, match=r"b\.zarr"):
        main(image=str(tmp_path / "b.zarr"))
