"""What metadata.json promises: the zoo's schema, one version everywhere, the network's input and output."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import download_large_files, verify_metadata, verify_net_in_out
from scripts.representation import Contour, Foreground, Representation, SignedDistance

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
META_FILE = BUNDLE / "configs" / "metadata.json"


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    return json.loads(META_FILE.read_text())


def test_metadata_fits_the_schema_of_the_zoo(shared: Path, tmp_path: Path) -> None:
    schema = shutil.copy(shared / "design" / "meta_schema_20240725.json", tmp_path / "schema.json")
    verify_metadata(meta_file=str(META_FILE), filepath=str(schema))  # raises where it does not


def test_metadata_has_what_the_zoo_requires(metadata: dict[str, Any]) -> None:
    required = "schema version changelog monai_version pytorch_version numpy_version required_packages_version task"
    missing = [
        key for key in f"{required} description authors copyright network_data_format".split() if not metadata.get(key)
    ]
    assert not missing
    assert metadata["schema"].endswith("/meta_schema_20240725.json")


def test_version_is_the_newest_of_the_changelog_and_that_of_the_project(metadata: dict[str, Any]) -> None:
    newest = max(metadata["changelog"], key=lambda version: [int(part) for part in version.split(".")])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["version"] == newest == project["version"]


def test_input_and_output_come_first_under_the_names_monai_label_takes(metadata: dict[str, Any]) -> None:
    formats = metadata["network_data_format"]
    assert [next(iter(formats[side])) for side in ("inputs", "outputs")] == ["image", "pred"]
    assert formats["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "nucleus"}


def test_output_channels_are_the_image_and_the_maps(metadata: dict[str, Any]) -> None:
    maps = Representation([Foreground(), Contour(), SignedDistance()])
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 1 + maps.channels


def test_network_of_the_inference_config_has_this_input_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLE)
    config = str(BUNDLE / "configs" / "inference.yaml")
    verify_net_in_out("network_def", meta_file=str(META_FILE), config_file=config, device="cpu")


def test_large_files_are_a_list_the_downloader_accepts(tmp_path: Path) -> None:
    shutil.copy(BUNDLE / "large_files.yml", tmp_path)
    download_large_files(bundle_path=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["large_files.yml"]
