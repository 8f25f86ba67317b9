"""An exported file in the place of the network: what the overlay exported.yaml puts there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scripts.checkpoint.weights import check_maps
from scripts.errors import InputError
from scripts.export.note import Note
from scripts.export.runner import Run, open_export
from torch import Tensor, nn

__all__ = ["ExportedNetwork"]


class ExportedNetwork(nn.Module):
    """A network that is read from a file, .ts or .onnx, by `load_export`; for inference alone.

    Files of `scripts.export` give the maps alone; others, such as those of MONAI's ckpt_export, the image before them.
    Can be pickled, and opens its file again where it arrives.
    """

    def __init__(self) -> None:
        super().__init__()
        # Not persistent, so that no state dict has it: only says where the network was moved to.
        self.place: Tensor
        self.register_buffer("place", torch.empty(0), persistent=False)
        self.path: Path | None = None
        self.digest = ""
        self.note: Note | None = None
        self.run: Run | None = None

    def load_export(self, path: str | os.PathLike[str], map_names: Sequence[str] = ()) -> None:
        """Open a file.

        Args:
            path: .ts or .onnx.
            map_names: the maps that are expected; compared with the file's note, if it has one.

        Raises:
            InputError: see `open_export`; or it is for other maps.
        """
        run, note = open_export(path, self.place.device)
        check_maps(note.map_names if note else (), map_names, path)
        self.path, self.note, self.run = Path(path).resolve(), note, run
        self.digest = hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]

    def check_use(self, with_image: bool, amp: bool) -> None:
        """See that the file can give what is wanted of it.

        Raises:
            InputError: the image is wanted and the file has the maps alone; or mixed precision is on.
        """
        if with_image and self.note is not None:
            raise InputError(f"{self.path}: has the maps alone, not the image; expected with_image: false.")
        if amp:
            raise InputError(f"{self.path}: runs in single precision; expected amp: false.")

    def forward(self, x: Tensor) -> Tensor:
        """Return image and map logits, (B, 1 + M, Z, Y, X), of an image (B, 1, Z, Y, X).

        Raises:
            InputError: the file has the maps alone, none was loaded, or mixed precision is on.
        """
        self.check_use(with_image=True, amp=False)
        return self._answer(x)

    def maps(self, x: Tensor) -> Tensor:
        """Return the map logits alone, (B, M, Z, Y, X); raises as `forward` does, but for the image."""
        return self._answer(x) if self.note is not None else self._answer(x)[:, 1:]

    def extra_repr(self) -> str:
        """Tell the file, by its content: blockwise inference asks it whether this is the network that it began with."""
        return self.digest

    def _answer(self, x: Tensor) -> Tensor:
        if self.run is None:
            raise InputError("ExportedNetwork: no file was loaded; expected load_export or load_weights before.")
        self.check_use(with_image=False, amp=torch.is_autocast_enabled(x.device.type))
        return self.run(x)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path, self.place.device, self.training)


def _opened(path: Path | None, device: torch.device, training: bool) -> ExportedNetwork:
    network = ExportedNetwork().to(device).train(training)
    if path is not None:
        network.load_export(path)
    return network
