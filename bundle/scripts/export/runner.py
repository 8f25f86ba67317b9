"""An exported file as a function of tensors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from monai.data import load_net_with_metadata
from scripts.errors import InputError, brief
from scripts.export.note import Note, unpacked
from scripts.plan.export import onnx_session
from torch import Tensor

__all__ = ["open_export"]

Run = Callable[[Tensor], Tensor]


def open_export(path: str | os.PathLike[str], device: torch.device) -> tuple[Run, Note | None]:
    """Open a file, TorchScript for .ts and ONNX for .onnx.

    ONNX runs on a GPU where `device` is one and the package onnxruntime-gpu is there, else on the CPU.

    Returns:
        Images (B, 1, Z, Y, X) to logits (B, C, Z, Y, X) on the same device; a `torch.nn.Module` for TorchScript. And
        the file's note, None for a file by another tool.

    Raises:
        InputError: no such file, another extension, not readable, or onnxruntime is missing.
    """
    path = Path(path)
    openers = {".ts": _open_torchscript, ".onnx": _open_onnx}
    if path.suffix not in openers:
        found = path.suffix or "none"
        raise InputError(
            f"{path}: found the extension {found!r}, expected .ts or .onnx. Other weights need no exported.yaml."
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file. python -m scripts.export --out {path} writes it.")
    try:
        return openers[path.suffix](path, device)
    except InputError:
        raise
    except Exception as error:
        message = f"{path}: found no readable network ({brief(error)}). Write it again by scripts.export."
        raise InputError(message) from error


def _open_torchscript(path: Path, device: torch.device) -> tuple[Run, Note | None]:
    network, metadata, _ = load_net_with_metadata(str(path), map_location=device)
    return network.eval(), unpacked(metadata, path)


def _open_onnx(path: Path, device: torch.device) -> tuple[Run, Note | None]:
    providers = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    session = onnx_session(path, providers, threads=torch.get_num_threads())
    [image] = [one.name for one in session.get_inputs()]

    def run(x: Tensor) -> Tensor:
        [maps] = session.run(None, {image: x.detach().cpu().contiguous().numpy()})
        return torch.from_numpy(maps).to(x.device)

    return run, unpacked(session.get_modelmeta().custom_metadata_map, path)
