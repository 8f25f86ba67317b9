"""Packages for bioimage.io: valid by its own package without a network, and their weights do what inference does."""

from __future__ import annotations

import importlib.util
import json
import socket
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.transforms import Compose
from scripts.check.overlay import configuration
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.example import make_pair
from scripts.export import Note, package, write_package
from scripts.export.__main__ import main
from scripts.export.description import described, page
from scripts.export.file import maps_alone
from scripts.export.note import activated, note_of
from scripts.export.prepared import PreparedNetwork
from scripts.export.runner import open_export
from scripts.networks import SegmentationGenerator
from scripts.plan.file import read_plan
from scripts.transforms.scaling import resized
from torch import nn


def there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


needs_spec = pytest.mark.skipif(not there("bioimageio.spec"), reason="the package of the extra bioimageio is missing")
needs_core = pytest.mark.skipif(not there("bioimageio.core"), reason="bioimageio.core is not installed")
METADATA = json.loads((BUNDLE / "configs" / "metadata.json").read_text())


def note(trained_on: Mapping[str, Any] = {}, **values: Any) -> Note:
    """The note of inference.yaml, some keys of its plan replaced."""
    found = note_of(configuration("inference", []))
    return found._replace(plan=replace(found.plan, keys={**found.plan.keys, **values}, trained_on=trained_on))


def small() -> SegmentationGenerator:
    torch.manual_seed(0)
    return SegmentationGenerator(filters=(8, 16)).eval()


def refused(*_: Any, **__: Any) -> None:
    raise AssertionError("a connection was tried")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The shipped weights by the command, and no connection to anywhere, then and after."""
    path = tmp_path_factory.mktemp("package") / "cysgan.bioimageio.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        patch.setattr(socket, "getaddrinfo", refused)
        main(str(path))
        yield path


@pytest.fixture(scope="module")
def unpacked(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(written) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def description(unpacked: Path) -> dict[str, Any]:
    [path] = unpacked.glob("*.yaml")
    return yaml.safe_load(path.read_text().partition("---")[2])


# ---- the network that goes into it -----------------------------------------------------------------------------------
@torch.no_grad()
def test_gamma_and_activations_are_inside_the_network() -> None:
    network, said = small(), note(intensity_gamma=0.7)
    x = torch.rand(2, 1, 5, 9, 8)
    expected = activated(network.maps(x**0.7 * 2 - 1), said)
    prepared = PreparedNetwork(maps_alone(network), said).eval()
    assert expected.std() > 0.1
    assert torch.allclose(prepared(x), expected, atol=1e-5)
    assert torch.equal(prepared(x * 3 - 1), prepared((x * 3 - 1).clamp(0, 1)))


# ---- what it says ----------------------------------------------------------------------------------------------------
def test_the_description_has_what_the_bundle_says_of_itself() -> None:
    found = described(
        note(window=[9, 32, 34], intensity_percentiles=[1, 99]), METADATA, {"torchscript": {"source": "w"}}
    )
    assert (found["version"], found["license"]) == (METADATA["version"], "Apache-2.0")
    assert found["authors"] == [{"name": "The authors of the CySGAN bundle"}]
    assert [entry["doi"] for entry in found["cite"]] == ["10.48550/arXiv.2204.03082", "10.1109/JBHI.2023.3281332"]
    [image], [maps] = found["inputs"], found["outputs"]
    assert [axis["size"] for axis in image["axes"][2:]] == [9, 32, 34]
    assert [axis["halo"] for axis in maps["axes"][2:]] == [2, 8, 8]
    assert [step["id"] for step in image["preprocessing"]] == ["scale_range", "clip"]
    assert image["preprocessing"][0]["kwargs"]["max_percentile"] == 99
    assert [data["range"] for data in maps["data"]] == [[0, 1], [0, 1], [-1, 1]]


def test_the_page_says_what_the_format_cannot() -> None:
    facts = {"image_x": [{"name": "X.tif", "shape": [9, 8, 7], "voxel_size": None}], "iterations": 300, "stage": ""}
    text = page(note(facts, training_voxel_size=[2.0, 0.5, 0.5]), METADATA)
    for fact in (
        "factors 1 × 0.5 × 0.5",
        "of 2 × 0.5 × 0.5 µm",
        "exponent 0.5",
        "## Validation",
        "Trained on image x: X.tif (9 × 8 × 7); iterations: 300.",
        "`distance`, -1 to 1",
    ):
        assert fact in text


# ---- the package -----------------------------------------------------------------------------------------------------
@needs_spec
def test_a_package_is_valid_for_bioimageio_without_a_network(written: Path) -> None:
    from bioimageio.spec import load_description_and_validate_format_only

    summary = load_description_and_validate_format_only(written, perform_io_checks=True)
    assert summary.status == "valid-format", summary.details
    assert read_plan(written) == read_plan(BUNDLE / "models" / "model.pt")


@needs_spec
def test_the_format_prepares_a_window_as_inference_does(unpacked: Path) -> None:
    x, expected = np.load(unpacked / "input.npy"), np.load(unpacked / "output.npy")
    parser = configuration("inference", [])
    network = parser.get_parsed_content("network_def").eval()
    load_weights(network, BUNDLE / "models" / "model.pt", note().map_names)
    prepare = Compose(parser.get_parsed_content("preprocessing").transforms[2:])
    with torch.no_grad():
        maps = activated(network.maps(prepare({"image": torch.from_numpy(x[0])})["image"][None]), note())
    assert np.abs(maps.numpy() - expected).max() < 1e-3
    assert expected[:, 0].max() > 0.9 > 0.1 > expected[:, 0].min()
    drawn = torch.from_numpy(make_pair((16, 64, 64))["imageY"].astype(np.float32))
    assert np.array_equal(x, resized(drawn[None, None], (16, 32, 32)).numpy())


@needs_spec
@torch.no_grad()
def test_every_weights_file_gives_the_test_output(unpacked: Path, description: dict[str, Any]) -> None:
    x, expected = np.load(unpacked / "input.npy"), np.load(unpacked / "output.npy")
    low, high = np.percentile(x, (0.5, 99.5))
    files = [entry["source"] for entry in description["weights"].values()]
    assert "weights.ts" in files
    for name in files:
        run, said = open_export(unpacked / name, torch.device("cpu"))
        maps = run(torch.from_numpy(((x - low) / (high - low)).clip(0, 1).astype(np.float32))).numpy()
        assert np.abs(maps - expected).max() < 1e-4
        assert said is None, "a note would have these maps taken for logits"


@needs_spec
@needs_core
@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_bioimageio_core_runs_the_weights(kind: Any, written: Path, description: dict[str, Any]) -> None:
    from bioimageio.core import test_model as run_tests

    if kind not in description["weights"]:
        pytest.skip("the packages of the extra onnx are not installed")
    summary = run_tests(written, weight_format=kind)
    assert summary.status == "passed", summary.details


# ---- what is refused -------------------------------------------------------------------------------------------------
def test_a_missing_package_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"zip: needs the package bioimageio.spec: pip install .* extra bioimageio"):
        main(str(tmp_path / "model.bioimageio.zip"))
    assert list(tmp_path.iterdir()) == []


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.zip: found the extension '.zip', expected .* in .bioimageio.zip"):
        main(str(tmp_path / "model.zip"))
    with pytest.raises(InputError, match=r"model.zip: expected a name that ends in .bioimageio.zip"):
        write_package(small(), tmp_path / "model.zip", note())


@needs_spec
def test_a_package_that_is_there_stays_when_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.bioimageio.zip"
    path.write_text("the old one")
    with pytest.raises(InputError, match=r"found Conv3d, expected scripts.networks.SegmentationGenerator"):
        write_package(nn.Conv3d(1, 4, 1), path, note())
    monkeypatch.setattr(package, "missing_packages", lambda: ["onnx"])
    monkeypatch.setattr(package, "described", lambda *_: {**described(*_), "license": "none of SPDX's"})
    with pytest.raises(InputError, match=r"(?s)not kept, bioimageio.spec [\d.]+ finds fault with it: .*license"):
        write_package(small(), path, note())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old one"]
