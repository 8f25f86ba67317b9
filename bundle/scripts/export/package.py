"""A package for bioimage.io: weights, test arrays, description and documentation in one zip."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.example import make_pair
from scripts.export.description import INPUT, OUTPUT, PAGE, described, page
from scripts.export.file import compared, maps_alone, missing_packages, write_onnx, write_torchscript
from scripts.export.note import Note
from scripts.export.prepared import PreparedNetwork
from scripts.transforms.scaling import resized, scaled_shape
from scripts.volume_io.replacement import replacing
from torch import Tensor, nn

__all__ = ["SUFFIX", "check_specification", "write_package"]

SUFFIX = ".bioimageio.zip"
"""End of a package's name."""


def check_specification(out: str | os.PathLike[str]) -> None:
    """See that a package can be written.

    Raises:
        InputError: its name ends otherwise, or bioimageio.spec is not installed.
    """
    if not str(out).endswith(SUFFIX):
        raise InputError(f"{out}: expected a name that ends in {SUFFIX}.")
    try:
        found = importlib.util.find_spec("bioimageio.spec")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise InputError(
            f"{out}: needs the package bioimageio.spec: pip install bioimageio.spec (this project's extra bioimageio), "
            "or name a file .ts or .onnx."
        )


def write_package(network: nn.Module, out: str | os.PathLike[str], note: Note) -> list[tuple[tuple[int, ...], float]]:
    """Write a network's maps as a package in format 0.5 of bioimage.io, checked by bioimageio.spec; nothing is fetched.

    TorchScript, and ONNX too where the packages for it are installed. Memory: as `write_export`.

    Args:
        network: with its weights; one of `scripts.networks.SegmentationGenerator`.
        out: name ending in .bioimageio.zip; a file there is replaced when the new one is complete.
        note: of the network; its plan says what it was trained on.

    Returns:
        Each size (B, 1, Z, Y, X) at which weights were compared with PyTorch, and the largest difference of the maps.

    Raises:
        InputError: another network or name, bioimageio.spec is missing or finds fault, the package cannot be written,
            or weights differ from the network by more than `TOLERANCE`.
    """
    check_specification(out)
    path = Path(out)
    prepared = PreparedNetwork(maps_alone(network), note).eval()
    with replacing(path) as temporary, TemporaryDirectory() as name:
        content, found = _written(prepared, Path(name), note)
        _zip(content, Path(name), temporary)
    return found


def _written(
    prepared: PreparedNetwork, folder: Path, note: Note
) -> tuple[dict[str, Any], list[tuple[tuple[int, ...], float]]]:
    """Write the files of a package; return its description, and how far weights are from the network."""
    metadata: Mapping[str, Any] = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    window = _window(note)
    np.save(folder / INPUT, window.numpy())
    with torch.no_grad():
        np.save(folder / OUTPUT, prepared(_scaled(window, note)).numpy())
    (folder / PAGE).write_text(page(note, metadata), encoding="utf-8")
    weights = {"torchscript": _torchscript(prepared, folder)}
    if not missing_packages():
        weights["onnx"] = _onnx(prepared, folder)
    files = [folder / entry["source"] for entry in weights.values()]
    found = [one for file in files for one in compared(prepared, file, note.plan.keys["window"], lambda maps: maps)]
    return described(note, metadata, weights), found


def _window(note: Note) -> Tensor:
    """Return grey values (1, 1, Z, Y, X) of a simulated volume, as the network is to see them but for their scale."""
    size, scale = note.plan.keys["window"], note.plan.keys["scale"]
    drawn = make_pair(scaled_shape(size, [1 / factor for factor in scale]))["imageY"].astype(np.float32)
    return resized(torch.from_numpy(drawn)[None, None], size).contiguous()


def _scaled(window: Tensor, note: Note) -> Tensor:
    low, high = np.percentile(window.numpy(), note.plan.keys["intensity_percentiles"])
    return ((window - float(low)) / float(high - low)).clamp(0, 1)


def _torchscript(prepared: PreparedNetwork, folder: Path) -> dict[str, Any]:
    source = "weights.ts"
    write_torchscript(prepared, folder / source)
    return {"source": source, "pytorch_version": torch.__version__.partition("+")[0]}


def _onnx(prepared: PreparedNetwork, folder: Path) -> dict[str, Any]:
    import onnx

    source = "weights.onnx"
    write_onnx(prepared, folder / source)
    opsets = onnx.load(str(folder / source), load_external_data=False).opset_import
    [opset] = [one.version for one in opsets if one.domain in ("", "ai.onnx")]
    return {"source": source, "opset_version": opset, "parent": "torchscript"}


def _zip(content: Mapping[str, Any], folder: Path, path: Path) -> None:
    """Check a description by bioimageio.spec and write the zip with its files."""
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description, save_bioimageio_package
    from bioimageio.spec.model.v0_5 import ModelDescr

    content = {"format_version": ModelDescr.implemented_format_version, **content}
    with ValidationContext(root=folder, perform_io_checks=True, log_warnings=False):
        description = build_description(content)
        fault = description.get_reason() if isinstance(description, InvalidDescr) else ""
        try:
            if not fault:
                save_bioimageio_package(description, output_path=path)
        except ValueError as error:
            fault = str(error)
    if fault:
        raise InputError(
            f"{path.name}: not kept, bioimageio.spec {version('bioimageio.spec')} finds fault with it: {fault}"
        )
