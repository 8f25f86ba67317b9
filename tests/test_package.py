"""The package for the model zoo: what is in it, the zoo's rules, and use of it by those who have nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, verify_metadata
from scripts.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
CARD, GUIDE = BUNDLE / "docs" / "README.md", BUNDLE / "docs" / "guides" / "INFERENCE.md"
OWN_SCHEMA = ROOT / "tools" / "metadata_schema.json"
COMMANDS = [
    "python -m monai.bundle run training --config_file configs/train.yaml --dataset_dir D",
    "torchrun --standalone --nnodes=1 --nproc_per_node=2 -m monai.bundle run training",
    "python -m monai.bundle run --config_file configs/inference.yaml --image D/imageY.tif",
    "python -m monai.bundle run evaluating --config_file \"['configs/inference.yaml','configs/evaluate.yaml']\"",
    "python -m monai.bundle verify_metadata --meta_file configs/metadata.json",
    "python -m monai.bundle verify_net_in_out --net_id network_def --meta_file configs/metadata.json",
]
ADDRESS = "file:///downloads/cysgan_vX.Y.Z.zip"
# what follows the code of the guide, to see what it has made
REPORT = """
import scripts, torch
ramp = torch.linspace(-1, 1, 16 * 32 * 32).view(1, 1, 16, 32, 32)
seen = {"scripts": scripts.__file__, "wrong properties": workflow.check_properties()}
seen |= {"shape": list(instances.shape), "voxel_size": list(voxel_size)}
seen |= {"inference": network(ramp).detach(), "train": load("cysgan", bundle_dir="bundles")(ramp).detach()}
torch.save(seen, "seen.pt")
"""
VOXEL_SIZE = (2.0, 1.0, 0.5)


@pytest.fixture(scope="module")
def tools() -> Iterator[dict[str, Any]]:
    """The modules of tools/ that make a package, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield {name: import_module(name) for name in ("package", "zoo", "trial")}


@pytest.fixture(scope="module")
def files(tools: dict[str, Any]) -> dict[str, bytes]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return tools["package"].contents()


@pytest.fixture(scope="module")
def package(tools: dict[str, Any], files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tools["package"].write_package(files, tmp_path_factory.mktemp("dist"))


# ---- what is in it ---------------------------------------------------------------------------------------------------
def test_the_zip_is_named_after_model_and_version_and_unpacks_to_one_folder(package: Path) -> None:
    version = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["version"]
    assert package.name == f"cysgan_v{version}.zip"
    with zipfile.ZipFile(package) as archive:
        assert all(name.startswith("cysgan/") for name in archive.namelist())


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not there")
def test_sha256sum_tells_whether_an_unpacked_package_is_as_it_was(package: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(package, tmp_path)
    command = ["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path / "cysgan", check=False).returncode == 0
    (tmp_path / "cysgan" / "LICENSE").write_text("not free\n")
    done = subprocess.run(command, cwd=tmp_path / "cysgan", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "LICENSE: FAILED\n")


def test_files_that_the_trial_changed_lost_or_left_are_named(tools: dict[str, Any], tmp_path: Path) -> None:
    for name, content in {"a": b"1", "b/c": b"2", "d": b"3"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    files = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a", "b/c", "d")}
    (tmp_path / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in files.items()))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"")
    tools["trial"].check_sums(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    (tmp_path / "d").unlink()
    (tmp_path / "e").write_bytes(b"")
    with pytest.raises(InputError, match=r": not as it was packed: a, d, e\.$"):
        tools["trial"].check_sums(tmp_path)


def test_it_holds_what_git_tracks_the_twins_and_the_list(files: dict[str, bytes]) -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=BUNDLE, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listing.split("\0") if name}
    assert {*files} - tracked == {"configs/train.json", "configs/inference.json", "SHA256SUMS"}
    assert tracked <= {*files}
    assert all(files[name] == (BUNDLE / name).read_bytes() for name in tracked)


@pytest.mark.parametrize("name", ["train", "inference"])
def test_monai_reads_the_same_from_a_config_and_its_twin(files: dict[str, bytes], tmp_path: Path, name: str) -> None:
    (tmp_path / "twin.json").write_bytes(files[f"configs/{name}.json"])
    own = ConfigParser.load_config_file(str(BUNDLE / "configs" / f"{name}.yaml"))
    assert ConfigParser.load_config_file(str(tmp_path / "twin.json")) == own


def test_the_same_files_give_the_same_bytes(
    tools: dict[str, Any], files: dict[str, bytes], package: Path, tmp_path: Path
) -> None:
    again = tools["package"].write_package(dict(reversed(files.items())), tmp_path)
    assert again.read_bytes() == package.read_bytes()
    with zipfile.ZipFile(package) as archive:
        names, times = archive.namelist(), {entry.date_time for entry in archive.infolist()}
    assert names == sorted(names)
    assert len(times) == 1


def test_without_git_nothing_is_packed(tools: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "large_files.yml").write_text("large_files: []\n")
    with pytest.raises(InputError, match="made from a git checkout, and git says"):
        tools["package"].contents(tmp_path)


# ---- the zoo's rules -------------------------------------------------------------------------------------------------
def metadata_with(**changed: Any) -> bytes:
    return json.dumps({"version": "0.2.0", "changelog": {"0.2.0": "b", "0.1.0": "a"}, **changed}).encode()


def large(**changed: str | None) -> bytes:
    sha1 = "356a192b7913b04c54574d18c28d46e6395428ab"  # of b"1"
    entry = {"path": "models/big.pt", "url": "https://host/big.pt", "hash_val": sha1, "hash_type": "sha1", **changed}
    return yaml.safe_dump({"large_files": [entry]}).encode()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"LICENSE": None}, "LICENSE is missing"),
        ({"models/model.pt": None}, "models/model.pt is missing"),
        ({"configs/metadata.json": metadata_with(version="0.3.0")}, "version is 0.3.0, the changelog begins with"),
        ({"configs/metadata.json": metadata_with(version="0.1.0")}, "version is 0.1.0, the changelog begins with"),
        (
            {"configs/metadata.json": metadata_with(changelog={"0.2.0": "", "0.9.0": "", "0.10.0": ""})},
            "not in order, newest first",
        ),
        ({"configs/metadata.json": metadata_with(changelog={"0.2.0": "", "first": ""})}, "expected numbers such as"),
        ({"models/more.pt": bytes(25 * 1024 * 1024 + 1)}, "models/more.pt has 26,214,401 bytes"),
        ({"large_files.yml": large()}, "models/big.pt: is not there"),
        ({"large_files.yml": large(), "models/big.pt": b"2"}, "its sha1 is da4b9237"),
        ({"large_files.yml": large(hash_val=None), "models/big.pt": b"1"}, "has no hash_val"),
        ({"large_files.yml": large(url=""), "models/big.pt": b"1"}, "has no url"),
        ({"large_files.yml": large(hash_type="crc"), "models/big.pt": b"1"}, "hash_type is 'crc'"),
        ({"large_files.yml": large(path="../big.pt")}, "is no path inside the bundle"),
    ],
)
def test_what_the_zoo_would_refuse_is_named(
    tools: dict[str, Any], files: dict[str, bytes], changed: dict[str, bytes | None], fault: str
) -> None:
    given = {name: content for name, content in {**files, **changed}.items() if content is not None}
    [found] = tools["zoo"].faults(given)
    assert fault in found


def test_a_large_file_with_its_hash_passes(tools: dict[str, Any], files: dict[str, bytes]) -> None:
    assert tools["zoo"].faults({**files, "large_files.yml": large(), "models/big.pt": b"1"}) == []


def test_metadata_fits_our_own_schema_without_a_network() -> None:
    verify_metadata(meta_file=str(BUNDLE / "configs" / "metadata.json"), filepath=str(OWN_SCHEMA))


def test_our_own_schema_asks_for_all_that_the_zoo_asks_for(shared: Path, tmp_path: Path) -> None:
    zoo = shared / "design" / "meta_schema_20240725.json"
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    required = json.loads(zoo.read_text())["required"]
    assert len(required) > 10
    for key in required:
        (tmp_path / "metadata.json").write_text(json.dumps({name: metadata[name] for name in metadata if name != key}))
        for schema in (zoo, OWN_SCHEMA):
            with pytest.raises(ValueError, match="schema" if key == "schema" else f"'{key}' is a required property"):
                verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_model_card_has_the_exact_commands(command: str) -> None:
    assert command in CARD.read_text()


def test_the_model_card_begins_with_title_authors_and_tags() -> None:
    head = CARD.read_text().partition("\n## ")[0]
    assert re.match(r"# .+\n\n\*\*Authors:\*\* .+\n(.+\n)*\n\*\*Tags:\*\* .+, .+\n", head)


# ---- in other hands --------------------------------------------------------------------------------------------------
def test_the_code_of_the_guide_runs_where_there_is_nothing_but_the_zip(
    tools: dict[str, Any], package: Path, volumes: Path, tmp_path: Path
) -> None:
    """The network is the one in the repository, the workflow writes instances, the package stays as it is."""
    section = GUIDE.read_text().partition("\n## From Python\n")[2].partition("\n## ")[0]
    [code] = [block.partition("```")[0] for block in section.split("```python\n")[1:] if ADDRESS in block]
    shutil.copy(volumes / "imageY.tif", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.replace(ADDRESS, package.as_uri()) + REPORT],
        cwd=tmp_path,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    seen = torch.load(tmp_path / "seen.pt", weights_only=True)
    assert seen["scripts"] == str(tmp_path / "bundles" / "cysgan" / "scripts" / "__init__.py")
    assert seen["wrong properties"] == []
    assert seen["shape"] == [32, 64, 64]
    assert seen["voxel_size"] == pytest.approx(VOXEL_SIZE)
    expected = repository_network()(torch.linspace(-1, 1, 16 * 32 * 32).view(1, 1, 16, 32, 32))
    assert torch.equal(seen["inference"], expected)
    assert torch.equal(seen["train"], expected)
    tools["trial"].check_sums(tmp_path / "bundles" / "cysgan")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundles", "imageY.tif", "out", "seen.pt"]


def repository_network() -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.yaml"))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    return network


def test_a_package_that_fails_the_zoos_check_is_told(
    tools: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"configs/metadata.json": metadata_with(schema="https://host/schema.json")}
    files["SHA256SUMS"] = (
        f"{hashlib.sha256(files['configs/metadata.json']).hexdigest()}  configs/metadata.json\n".encode()
    )
    path = tools["package"].write_package(files, tmp_path)
    with pytest.raises(InputError, match=r"^verify_metadata, by metadata_schema.json: failed, its output is above\."):
        tools["trial"].try_package(path)
    assert "is a required property" in capfd.readouterr().out
