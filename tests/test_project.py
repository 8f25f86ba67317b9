"""Rules of the tree that no tool checks: twins that stay alike, names, tests for every module, links, pins."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import house  # noqa: E402

BUNDLE = ROOT / "bundle"
SCRIPTS = (BUNDLE / "scripts").iterdir()
MODULES = {path.stem for path in SCRIPTS if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SECTIONS = ("Model description", "Data and preprocessing", "Performance", "Commands", "Additional usage")
SECTIONS += ("System configuration", "Limitations", "Citation", "References")
VAGUE = {"utils.py", "misc.py", "common.py", "helpers.py"}


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Files of the project, tracked or about to be; ignored ones left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", ["metadata.json", "LICENSE"])
def test_the_copy_at_the_root_is_that_of_the_bundle(name: str) -> None:
    [inside] = [path for path in (BUNDLE / name, BUNDLE / "configs" / name) if path.exists()]
    assert (ROOT / name).read_bytes() == inside.read_bytes()
    assert not (ROOT / name).is_symlink()


def test_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def rooms_of_the_map() -> list[str]:
    tree = (ROOT / "CONTRIBUTING.md").read_text().partition("  scripts/\n")[2].partition("  models/")[0]
    return [path.strip("/") for path in re.findall(r"^    (\w+(?:\.py|/)) ", tree, re.M)]


def test_the_map_of_the_tree_names_every_module() -> None:
    named = set(rooms_of_the_map())
    there = {path.name for path in (BUNDLE / "scripts").iterdir() if path.stem in MODULES}
    assert named == there, f"in the map or in the folder alone: {sorted(named ^ there)}"


def test_imports_lead_up_the_map_alone_and_no_modules_import_each_other() -> None:
    trees = {house.name_of(path, BUNDLE): ast.parse(path.read_text()) for path in (BUNDLE / "scripts").rglob("*.py")}
    arrows = house.arrows_of(trees)
    assert house.cycles(arrows) == []
    above: set[str] = set()
    wrong = []
    for room in (name.removesuffix(".py") for name in rooms_of_the_map()):
        above.add(room)
        wrong += [
            f"{module} -> {target}"
            for module, targets in arrows.items()
            for target in targets
            if module.split(".")[1:2] == [room] and target.split(".")[1] not in above
        ]
    assert wrong == []


def test_every_module_has_its_tests() -> None:
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert tested >= MODULES, f"without tests: {sorted(MODULES - tested)}"


def test_no_file_has_a_name_that_says_nothing(files: list[Path]) -> None:
    assert not [path for path in files if path.name in VAGUE]


def test_no_package_at_the_root_shadows_that_of_the_bundle() -> None:
    assert not (ROOT / "scripts").exists()
    assert not (BUNDLE / "__init__.py").exists()


def test_no_file_names_a_path_of_somebodys_machine(files: list[Path]) -> None:
    private = re.compile("/(?:" + "|".join(("home", "root", "tmp", "work", "Users")) + ")/")
    texts = {path: path.read_bytes().decode(errors="replace") for path in files}
    assert not [str(path) for path, text in texts.items() if private.search(text)]


def test_no_file_is_large_but_the_weights_that_are_shipped(files: list[Path]) -> None:
    weights = BUNDLE / "models" / "model.pt"
    assert not [str(path) for path in files if path.stat().st_size > 1_000_000 and path != weights]


def test_model_card_has_the_sections_of_the_zoo() -> None:
    card = (BUNDLE / "docs" / "README.md").read_text()
    assert [name for name in SECTIONS if f"\n## {name}\n" not in card] == []


def test_configs_and_modules_that_the_pages_name_exist() -> None:
    pages = (ROOT / "README.md").read_text() + (BUNDLE / "docs" / "README.md").read_text()
    configs = {f"configs/{name}" for name in re.findall(r"configs/(\w+\.(?:yaml|json))", pages)}
    assert sorted(name for name in configs if not (BUNDLE / name).exists()) == []
    assert set(re.findall(r"-m scripts\.(\w+)", pages)) <= MODULES


def test_make_has_the_commands_that_the_pages_name() -> None:
    pages = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", pages, re.M))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= named <= targets


def test_continuous_integration_runs_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text()
    assert os.access(script, os.X_OK)


def pins(python: str) -> dict[str, Requirement]:
    """Lines of requirements.txt that count for a Python on Linux, by name."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.strip() and line[0] != "#"]
    return {requirement.name: requirement for requirement in counting(lines, python)}


def counting(lines: list[str], python: str) -> list[Requirement]:
    """Those of the requirements that count for a Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux", "extra": ""}
    requirements = map(Requirement, lines)
    return [item for item in requirements if item.marker is None or item.marker.evaluate(dict(environment))]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_within_its_range(python: str, project: dict[str, Any]) -> None:
    pinned = pins(python)
    for requirement in counting(project["dependencies"] + project["optional-dependencies"]["dev"], python):
        [version] = pinned[requirement.name].specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version), f"{requirement} is pinned to {version}"


@pytest.mark.parametrize("python", PYTHONS)
def test_versions_in_the_metadata_are_those_pinned(python: str, project: dict[str, Any]) -> None:
    metadata, pinned = json.loads((ROOT / "metadata.json").read_text()), pins(python)
    named = {
        "torch": metadata["pytorch_version"],
        "monai": metadata["monai_version"],
        "numpy": metadata["numpy_version"],
    }
    for name, version in (named | metadata["required_packages_version"]).items():
        assert pinned[name].specifier == SpecifierSet(f"=={version}"), name
    wanted = {requirement.name for requirement in counting(project["dependencies"], python)} - {"jsonschema"}
    assert wanted == {*named, *metadata["required_packages_version"]}


def test_pins_name_no_index_and_no_build() -> None:
    text = "\n".join(line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#"))
    assert not re.search(r"^-|://|\+\w", text, re.M)
