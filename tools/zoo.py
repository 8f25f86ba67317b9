"""What the model zoo asks of a bundle's files, those of metadata.json aside (metadata_schema.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from monai.apps.utils import SUPPORTED_HASH_TYPES

LARGEST = 25 * 1024 * 1024
"""Bytes; a larger file is fetched from elsewhere, by large_files.yml."""
REQUIRED = ("LICENSE", "configs/metadata.json", "configs/logging.conf", "configs/train.json", "configs/inference.json")
REQUIRED += ("docs/README.md", "docs/data_license.txt", "models/model.pt", "large_files.yml")
LARGE_FILES = "large_files.yml"


def faults(files: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the files of a package, by their names in it; empty where nothing is."""
    found = [f"{name} is missing" for name in REQUIRED if name not in files]
    entries = large_files(files.get(LARGE_FILES, b""))
    for name, content in files.items():
        if len(content) > LARGEST and name not in {entry.get("path") for entry in entries}:
            found.append(f"{name} has {len(content):,} bytes, above {LARGEST:,}; name it in {LARGE_FILES}")
    for entry in entries:
        found += _faults_of_entry(entry, files)
    return found + _faults_of_versions(json.loads(files.get("configs/metadata.json", b"{}")))


def large_files(content: bytes) -> list[dict[str, Any]]:
    """The entries of large_files.yml."""
    return (yaml.safe_load(content) or {}).get("large_files") or []


def _faults_of_entry(entry: Mapping[str, Any], files: Mapping[str, bytes]) -> list[str]:
    name = f"{LARGE_FILES}, {entry.get('path')}:"
    if lacking := [key for key in ("path", "url", "hash_val", "hash_type") if not entry.get(key)]:
        return [f"{name} has no {', '.join(lacking)}"]
    if _strays(entry["path"]):
        return [f"{name} is no path inside the bundle"]
    if (kind := entry["hash_type"]) not in SUPPORTED_HASH_TYPES:
        return [f"{name} hash_type is {kind!r}, expected one of {', '.join(SUPPORTED_HASH_TYPES)}"]
    if (content := files.get(entry["path"])) is None:
        return [
            f"{name} is not there; fetch it by `python -m monai.bundle download_large_files` in the bundle's folder"
        ]
    digest = SUPPORTED_HASH_TYPES[kind](content).hexdigest()
    return [] if digest == entry["hash_val"] else [f"{name} its {kind} is {digest}, expected {entry['hash_val']}"]


def _strays(name: str) -> bool:
    """Whether a name leads out of the folder it is to lie in, on any system."""
    parts = name.split("/")
    return "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts)


def _faults_of_versions(metadata: Mapping[str, Any]) -> list[str]:
    """The version is the first of the changelog, whose versions go down."""
    listed, version = list(metadata.get("changelog", {})), metadata.get("version")
    try:
        numbers = [tuple(map(int, name.split("."))) for name in listed]
    except ValueError:
        return [f"configs/metadata.json: changelog has the versions {listed}, expected numbers such as 1.0.0"]
    if listed[:1] != [version]:
        return [f"configs/metadata.json: version is {version}, the changelog begins with {listed[:1]}"]
    ordered = sorted(set(numbers), reverse=True)
    return [] if numbers == ordered else [f"configs/metadata.json: changelog is not in order, newest first: {listed}"]
