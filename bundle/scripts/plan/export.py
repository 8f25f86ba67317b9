"""The plan that an export carries in its metadata: .onnx, .ts, or a package for bioimage.io."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError, brief
from scripts.plan.plan import METADATA, Plan

__all__ = ["EXPORTS", "KEY", "OF_NOTE", "metadata_of", "onnx_session", "plan_of_export", "plan_of_metadata"]

KEY = "cysgan"
"""Under which metadata have what other programs need, as JSON. Version 0.4.1 wrote nothing else."""
OF_NOTE = ("scale", "intensity_percentiles", "intensity_gamma", "window")
"""Keys of the plan that other programs are given there."""


def plan_of_export(path: str | os.PathLike[str]) -> Plan | None:
    """Return the plan of an exported network; None for a file by another program.

    Args:
        path: a name that ends as one of `EXPORTS`.

    Raises:
        InputError: no such file, it cannot be read, or see `Plan.from_text`; onnxruntime is missing for .onnx.
    """
    return plan_of_metadata(metadata_of(path), path)


def plan_of_metadata(metadata: Mapping[str, Any], source: Any = "") -> Plan | None:
    """Return the plan among the metadata of an export.

    Exports by version 0.4.1 have no plan, but scale, percentiles, gamma and window: these are their plan.

    Args:
        metadata: names and texts.
        source: the file, for messages.

    Raises:
        InputError: see `Plan.from_text`.
    """
    if (text := metadata.get(METADATA)) is not None:
        return Plan.from_text(text, source)
    try:
        note = json.loads(metadata[KEY])
        keys = {name: note[name] for name in OF_NOTE}
    except (KeyError, TypeError, ValueError):
        return None
    try:
        return Plan(keys, str(note.get("version", "")))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def metadata_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the metadata of an exported network, names and texts; nothing of the network is run.

    Raises:
        InputError: see `plan_of_export`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file. python -m scripts.export --out {path} writes it.")
    read = next(read for ending, read in _READERS.items() if path.name.lower().endswith(ending))
    try:
        return read(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: found no readable network ({brief(error)}). Write it again by scripts.export."
        ) from error


def onnx_session(path: Path, providers: list[str] | None = None, threads: int = 1, optimised: bool = True) -> Any:
    """Return onnxruntime's session of a file.

    Args:
        path: .onnx.
        providers: what is to run it, the first of those that are there; None: the CPU.
        threads: on the CPU.
        optimised: false costs less time where nothing is run.

    Raises:
        InputError: onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{path}: needs onnxruntime: pip install onnxruntime (the extra onnx), or give a .ts."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    there = onnxruntime.get_available_providers()
    wanted = [name for name in (*(providers or ()), "CPUExecutionProvider") if name in there]
    return onnxruntime.InferenceSession(str(path), options, providers=wanted)


def _of_onnx(path: Path) -> dict[str, Any]:
    return dict(onnx_session(path, optimised=False).get_modelmeta().custom_metadata_map)


def _of_torchscript(path: Path) -> dict[str, Any]:
    """Read what `monai.data.save_net_with_metadata` put beside the network; nothing for a file by plain torch."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/extra/metadata.json")]
        return dict(json.loads(archive.read(names[0]))) if names else {}


def _of_package(path: Path) -> dict[str, Any]:
    """Read the description of a package: ours keeps both texts in its `config`."""
    import yaml

    with zipfile.ZipFile(path) as archive:
        [name] = {"bioimageio.yaml", "rdf.yaml"} & set(archive.namelist())
        config = yaml.safe_load(archive.read(name)).get("config") or {}
    own = config.get(KEY) or {}
    return {KEY: json.dumps(own), **({METADATA: own[METADATA]} if METADATA in own else {})}


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".onnx": _of_onnx,
    ".ts": _of_torchscript,
    ".bioimageio.zip": _of_package,
}
EXPORTS = tuple(_READERS)
"""How the names of exports end."""
