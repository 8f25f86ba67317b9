"""The file, written whole or not at all, and only when it does what the network does."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from monai.data import save_net_with_metadata
from monai.networks.utils import convert_to_torchscript
from scripts.errors import InputError
from scripts.export.note import Note, activated, packed
from scripts.export.runner import open_export
from scripts.volume_io.replacement import replacing
from torch import Tensor, nn

__all__ = ["TOLERANCE", "check_sizes", "compared", "maps_alone", "missing_packages"]
__all__ += ["write_export", "write_onnx", "write_torchscript", "writer_of"]

TOLERANCE = 1e-4
"""Largest difference of a map, in its own range, from PyTorch's."""
_EXAMPLE = (2, 36, 68, 100)  # no batch and no side of one, nor after five strides: the exporter would take it as fixed


def write_export(network: nn.Module, out: str | os.PathLike[str], note: Note) -> list[tuple[tuple[int, ...], float]]:
    """Write a network's maps to a file, and compare it with the network at three sizes.

    Memory: that of the network at the window of the note, and twice the weights.

    Args:
        network: with its weights; one of `scripts.networks.SegmentationGenerator`.
        out: name ending in .ts (TorchScript) or .onnx; a file there is replaced when the new one is complete.
        note: kept in the file.

    Returns:
        Each size (B, 1, Z, Y, X) that was compared, and the largest difference of the maps.

    Raises:
        InputError: another network or extension, a package is missing, the file cannot be written, or differs from
            the network by more than `TOLERANCE`.
    """
    path, write = Path(out), writer_of(out)
    alone = maps_alone(network)
    with replacing(path) as temporary:
        write(alone, temporary, note)
        return compared(alone, temporary, note.plan.keys["window"], lambda logits: activated(logits, note))


def check_sizes(window: Sequence[int]) -> list[tuple[int, ...]]:
    """Return three sizes (B, 1, Z, Y, X) about a window: itself, one that is no cube in a batch of two, an odd one."""
    z, y, x = window
    return [(1, 1, z, y, x), (2, 1, z // 2 + 1, y // 2, 3 * x // 4 + 1), (1, 1, z + 3, y // 2 + 1, x // 3 + 2)]


def maps_alone(network: nn.Module) -> nn.Module:
    """Return a copy of a network that gives the logits of the maps alone, for inference, on the CPU.

    Raises:
        InputError: its last layer cannot be cut.
    """
    cut = getattr(network, "without_image", None)
    if cut is None:
        raise InputError(
            f"network_def: found {type(network).__name__}, expected scripts.networks.SegmentationGenerator, whose last "
            "layer can be cut to the maps. `python -m monai.bundle ckpt_export` exports others, whole."
        )
    return cast(nn.Module, cut()).cpu().eval().requires_grad_(False)


def missing_packages() -> list[str]:
    """Return those of the packages for ONNX that are not installed."""
    return [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]


def writer_of(out: str | os.PathLike[str]) -> Callable[[nn.Module, Path, Note], None]:
    """Return what writes a file, by its extension.

    Raises:
        InputError: another extension, or packages are missing; those to install are named.
    """
    suffix = Path(out).suffix
    if suffix == ".ts":
        return write_torchscript
    if suffix != ".onnx":
        raise InputError(
            f"{out}: found the extension {suffix or 'none'!r}, expected .onnx or .ts (TorchScript), or a name that "
            "ends in .bioimageio.zip."
        )
    if missing := missing_packages():
        raise InputError(
            f"{out}: ONNX needs {', '.join(missing)}: pip install {' '.join(missing)} (this project's "
            "extra onnx), or name a file .ts."
        )
    return write_onnx


def write_torchscript(network: nn.Module, path: Path, note: Note | None = None) -> None:
    """Write a network as TorchScript, with a note in its metadata or without."""
    with _quietly():
        scripted = convert_to_torchscript(network)
    save_net_with_metadata(scripted, str(path), meta_values=packed(note) if note else {})


def write_onnx(network: nn.Module, path: Path, note: Note | None = None) -> None:
    """Write a network as ONNX for batches and volumes of any size; its weights are put in plain order."""
    plain: Any = network
    for module in plain.modules():
        if hasattr(module, "channels_last"):
            module.channels_last = False  # ONNX knows no order in memory
    plain.to(memory_format=torch.contiguous_format)
    batch, *size = _EXAMPLE
    # names alone: a torch.export.Dim would be a promise for every size from 2 on, which torch 2.8 finds broken at 4
    shapes = {0: "batch", 2: "z", 3: "y", 4: "x"}
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            plain,
            (torch.zeros(batch, 1, *size),),
            input_names=["image"],
            output_names=["maps"],
            dynamic_shapes=(shapes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    if note:
        program.model.metadata_props.update(packed(note))
    program.save(str(path), external_data=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what torch says to those who write exporters: of torchvision's layers, and of its own ways."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            warnings.filterwarnings("ignore", "`isinstance", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@torch.no_grad()
def compared(
    network: nn.Module, path: Path, window: Sequence[int], maps: Callable[[Tensor], Tensor]
) -> list[tuple[tuple[int, ...], float]]:
    """Compare a file with its network at three sizes about a window.

    Args:
        network: whose input lies in [-1, 1].
        path: .ts or .onnx.
        window: see `check_sizes`.
        maps: makes maps of what both give, (B, M, Z, Y, X).

    Returns:
        Each size (B, 1, Z, Y, X), and the largest difference of the maps.

    Raises:
        InputError: it is more than `TOLERANCE`, or the sizes differ.
    """
    run, _ = open_export(path, torch.device("cpu"))
    draws = torch.Generator().manual_seed(0)
    found = []
    for size in check_sizes(window):
        x = torch.rand(size, generator=draws) * 2 - 1
        expected, answer = network(x), run(x)
        if answer.shape != expected.shape:
            raise InputError(f"{path.name}: not kept: gives {tuple(answer.shape)}, expected {tuple(expected.shape)}.")
        difference = float((maps(answer) - maps(expected)).abs().max())
        if not difference <= TOLERANCE:
            raise InputError(
                f"{path.name}: not kept: maps of {size} differ from the network's by {difference:.2g}, expected "
                f"{TOLERANCE:g} at most. Export to the other format (.ts, .onnx)."
            )
        found.append((size, difference))
    return found
