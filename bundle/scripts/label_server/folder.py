"""The app folder that MONAI Label serves: its sample app, and this bundle as a model of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from scripts.check.command import check_sources
from scripts.check.problem import refuse
from scripts.check.run import check_decoder
from scripts.check.source import MARKS, Source, read_source, shipped
from scripts.check.tree import SEPARATOR, normal
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.plan import FIXED
from scripts.plan.file import read_plan
from scripts.plan.training import OF_Y, configured_keys
from scripts.volume_io.replacement import replacing

__all__ = ["MODEL", "check_model", "merged_configs", "other_than_model", "write_app", "write_config"]

MODEL = "cysgan"
"""Name of the model at the server."""
_BASES = ("inference", "train")
_LINKED = ("scripts", "models")


def merged_configs(
    overlays: Sequence[str | Path], keys: Mapping[str, Any], model: str | Path | None = None
) -> dict[str, dict[str, Any]]:
    """Merge overlays and keys into inference.yaml and train.yaml: MONAI Label opens one file of each, no overlays.

    Inference gets the plan of the model first, then label_server.yaml. Each overlay and key then goes where it is one
    of the base's: into one of the two, or both. Training gets no plan: it makes one.

    Args:
        overlays: YAML files, the later ones win; the bases themselves are left out.
        keys: such as `image_y` or `decoder::seed_contour`, also with `#` instead of `::`.
        model: weights, whose plan is merged; by default models/model.pt of this bundle.

    Returns:
        The configs by name, "inference" and "train".

    Raises:
        InputError: no such file, a key that neither has, or a value that is wrong or contradicts the plan.
    """
    bases = [Path(shipped(base).name) for base in _BASES]
    sources = [read_source(overlay) for overlay in overlays if Path(overlay).resolve() not in bases]
    typed = {normal(key): value for key, value in keys.items()}
    for name, content in (*((source.name, source.content) for source in sources), ("the command line", typed)):
        _check_known(name, content)
    own = {"bundle_root": str(BUNDLE), **({} if model is None else {"model_path": str(model)})}
    return {
        "inference": _merged("inference", sources, {**own, **_of("inference", typed)}, _client()),
        "train": _merged("train", sources, _of("train", typed)),
    }


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
        write_config(model, base, config)


def write_config(model: Path, base: str, config: Mapping[str, Any]) -> None:
    """Write a config of the folder of a model, whole or not at all."""
    with replacing(model / "configs" / f"{base}.json") as temporary:
        ConfigParser.export_config_file(dict(config), temporary, indent=2)


def check_model(config: Mapping[str, Any], weights: Path) -> None:
    """See that weights fit: MONAI Label loads what fits of them, without a word about the rest.

    Raises:
        InputError: they do not; or the decoder takes other maps.
    """
    parser = ConfigParser(dict(config))
    representation = parser.get_parsed_content("representation")
    check_decoder(representation, parser.get_parsed_content("decoder"))
    load_weights(parser.get_parsed_content("network_def"), weights, representation.names)


def other_than_model(train: Mapping[str, Any], weights: Path) -> list[str]:
    """Return the keys that a training from a client has otherwise than the plan of a model; none without a plan.

    Args:
        train: what `merged_configs` returned as "train".
        weights: of the model.
    """
    if (plan := read_plan(weights)) is None:
        return []
    keys = configured_keys(ConfigParser({**train, "bundle_root": str(BUNDLE)}), OF_Y)
    return [key for key, value in keys.items() if key in FIXED and key in plan.keys and value != plan.keys[key]]


def _merged(base: str, overlays: Sequence[Source], keys: Mapping[str, Any], *first: Source) -> dict[str, Any]:
    fitting = [source._replace(content=_of(base, source.content)) for source in overlays]
    found = check_sources([shipped(base), *first, *fitting], keys, base, volumes=False)
    refuse(found.problems)
    return {**found.values.config, **found.settings}


def _of(base: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of an overlay that a base has; inference has the keys of label_server.yaml, too."""
    known = shipped(base).content.keys() | (_client().content.keys() if base == "inference" else set())
    return {key: value for key, value in content.items() if key not in MARKS and _root(key) in known}


def _check_known(name: str, content: Mapping[str, Any]) -> None:
    for key in content:
        if key not in MARKS and not any(_of(base, {key: None}) for base in _BASES):
            raise InputError(f"{name}: the key {key} is in neither inference.yaml nor train.yaml. Check its spelling.")


def _client() -> Source:
    return read_source(BUNDLE / "configs" / "label_server.yaml")


def _root(key: str) -> str:
    return normal(key.lstrip("+")).split(SEPARATOR)[0]


def _link(path: Path, target: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise InputError(f"{path}: found files, expected none or a link to the bundle. Choose a new --folder.")
    path.symlink_to(target)
