"""Volumes as the readers of other programs understand them, and the recipe that shows stores in Neuroglancer."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scripts.volume_io import write_volume

PAGE = Path(__file__).resolve().parents[1] / "bundle" / "docs" / "VIEWERS.md"
VOXEL = (2.0, 0.5, 0.25)


@pytest.fixture
def labels() -> np.ndarray:
    array = np.zeros((4, 6, 8), np.uint16)
    array[1:3, 2:4, 5:7] = 300
    return array


def test_nifti_is_read_as_itk_snap_and_slicer_read_it(tmp_path: Path, labels: np.ndarray) -> None:
    itk = pytest.importorskip("SimpleITK")
    write_volume(tmp_path / "a.nii.gz", labels, VOXEL)
    image = itk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert image.GetSpacing() == pytest.approx([0.25e-3, 0.5e-3, 2e-3])  # in millimetres, whatever the file's unit
    np.testing.assert_array_equal(itk.GetArrayFromImage(image), labels)


@pytest.mark.parametrize(("name", "ids"), [("a.ome.tif", 300), ("a.tif", 70_000)])
def test_ome_tiff_says_what_bio_formats_looks_for(tmp_path: Path, labels: np.ndarray, name: str, ids: int) -> None:
    ome = pytest.importorskip("ome_types")
    large = np.where(labels, ids, 0)  # beyond 65,535 ImageJ's own kind cannot hold them
    write_volume(tmp_path / name, large, VOXEL, labels=True)
    [image] = ome.from_tiff(tmp_path / name, validate=False).images
    pixels = image.pixels
    assert (pixels.size_z, pixels.size_y, pixels.size_x, pixels.size_c, pixels.size_t) == (*labels.shape, 1, 1)
    assert (pixels.physical_size_z, pixels.physical_size_y, pixels.physical_size_x) == VOXEL
    units = {getattr(pixels, f"physical_size_{axis}_unit").value for axis in "xyz"}
    assert units == {"µm"} and pixels.dimension_order.value.startswith("XY")
    assert pixels.type.value == ("uint16" if ids < 2**16 else "uint32")
    [channel], [planes] = pixels.channels, pixels.tiff_data_blocks
    assert channel.samples_per_pixel == 1 and (planes.ifd or 0, planes.plane_count) == (0, len(labels))
    with tifffile.TiffFile(tmp_path / name) as file:
        assert len(file.pages) == len(labels)
        np.testing.assert_array_equal(np.stack([page.asarray() for page in file.pages]), large)


# A person looked at the page in a browser (VIEWERS.md); this shows that the recipe finds and serves the stores.
def test_the_recipe_for_neuroglancer_serves_image_and_instances_to_this_machine_alone(
    tmp_path: Path, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuroglancer = pytest.importorskip("neuroglancer")
    stores = {name: tmp_path / "out" / f"{name}.ome.zarr" for name in ("image", "instances")}
    for name, store in stores.items():
        write_volume(store, labels, VOXEL, labels=name == "instances")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", str)
    [recipe] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    exec(recipe, names)
    try:
        layers = {layer.name: layer.layer for layer in names["viewer"].state.layers}
        assert {name: layer.type for name, layer in layers.items()} == {"image": "image", "instances": "segmentation"}
        for name, layer in layers.items():
            [attributes] = [file.name for file in stores[name].iterdir() if file.name in (".zattrs", "zarr.json")]
            address = layer.source[0].url.removeprefix("zarr://")
            assert re.match(r"http://127\.0\.0\.1:\d+/[0-9a-f]{40}/", address)
            with urllib.request.urlopen(f"{address}/{attributes}") as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                assert "multiscales" in answer.read().decode()
        assert names["viewer"].get_viewer_url().startswith("http://127.0.0.1:")
    finally:
        names["stores"].stop()
        neuroglancer.stop()
