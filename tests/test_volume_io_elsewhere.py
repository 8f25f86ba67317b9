"""Volumes as the readers of other programs understand them, and the recipe that shows stores in Neuroglancer."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


def test_tiff_is_valid_ome(tmp_path: Path, labels: np.ndarray) -> None:
    ome = pytest.importorskip("ome_types")
    write_volume(tmp_path / "a.ome.tif", labels, VOXEL)
    pixels = ome.from_tiff(tmp_path / "a.ome.tif", validate=False).images[0].pixels
    assert (pixels.size_z, pixels.size_y, pixels.size_x) == labels.shape
    assert (pixels.physical_size_z, pixels.physical_size_y, pixels.physical_size_x) == VOXEL
    assert {pixels.physical_size_z_unit.value, pixels.physical_size_x_unit.value} == {"µm"}


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
