"""The app folder that MONAI Label serves: its sample app, and this bundle as a model of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv
from scripts.check.source import MARKS, read_source
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.volume_io.replacement import replacing

__all__ = ["MODEL", "merged_configs", "write_app"]

MODEL = "cysgan"
"""Name of the model at the server."""
_BASES = ("inference", "train")
_LINKED = ("scripts", "models")


def merged_configs(overlays: Sequence[str | Path], keys: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Merge overlays and keys into inference.yaml and train.yaml: MONAI Label opens one file of each, no overlays.

    label_server.yaml comes first. Each overlay and key then goes where it is one of the base's: into one of the two, or
    both.

    Args:
        overlays: YAML files, the later ones win.
        keys: such as `image_y` or `decoder::seed_contour`, `#` in the place of `::` too.

    Returns:
        The configs by name, "inference" and "train".

    Raises:
        InputError: no such file, or a key that neither has.
    """
    parsers = {
        base: ConfigParser(ConfigParser.load_config_file(BUNDLE / "configs" / f"{base}.yaml")) for base in _BASES
    }
    for key, value in read_source(BUNDLE / "configs" / "label_server.yaml").content.items():
        if key not in MARKS:
            merge_kv(parsers["inference"], key, value)
    for overlay in overlays:
        _merge(parsers, read_source(overlay).content, str(overlay))
    _merge(parsers, {key.replace("#", "::"): value for key, value in keys.items()}, "the command line")
    return {base: parser.get() for base, parser in parsers.items()}


def write_app(folder: Path, sample: Path, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the app folder, or renew what an earlier start wrote; nothing else in it is touched.

    Code and weights are links to the bundle, so that a training from MONAI Label writes the bundle's models/model.pt,
    as any training does. The configs are written as JSON, which MONAI Label prefers.

    Args:
        folder: where to.
        sample: the app that MONAI Label brings.
        configs: what `merged_configs` returned.

    Raises:
        InputError: there is something else in `folder`.
    """
    model = folder / "model" / MODEL
    ours = model.is_dir() or not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not ours:
        raise InputError(f"{folder}: found other files, expected those of an earlier start. Choose a new --folder.")
    ignored = shutil.ignore_patterns("model", "logs", "__pycache__")
    shutil.copytree(sample, folder, ignore=ignored, dirs_exist_ok=True)
    (model / "configs").mkdir(parents=True, exist_ok=True)
    for name in _LINKED:
        _link(model / name, BUNDLE / name)
    for name in ("metadata.json", "logging.conf", "multi_gpu_train.yaml"):
        _link(model / "configs" / name, BUNDLE / "configs" / name)
    for base, config in configs.items():
        with replacing(model / "configs" / f"{base}.json") as temporary:
            ConfigParser.export_config_file(dict(config), temporary, indent=2)


def _merge(parsers: Mapping[str, ConfigParser], overlay: Mapping[str, Any], name: str) -> None:
    for key, value in overlay.items():
        if key in MARKS:
            continue
        bases = [parser for parser in parsers.values() if key.lstrip("+") in parser]
        if not bases:
            raise InputError(f"{name}: the key {key} is in neither inference.yaml nor train.yaml. Check its spelling.")
        for parser in bases:
            merge_kv(parser, key, value)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise InputError(f"{path}: found files, expected none or a link to the bundle. Choose a new --folder.")
    path.symlink_to(target)
