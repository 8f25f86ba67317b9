"""A checkpoint of the authors' code to weights of this bundle.

Command line: ``python -m scripts.convert_checkpoint checkpoint_100000.pth.tar model.pt``. PyTorch Connectomics writes
five networks with their optimisers and schedules; of these the generator Y to X, `Gb`, is taken, which alone is wanted
for inference. Its layers are those of `SegmentationGenerator` as published.yaml has it, under other names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from scripts.check.overlay import configuration, overlay_files
from scripts.check.run import check_folder
from scripts.checkpoint import noted_state, save_atomically
from scripts.checkpoint.weights import check_fit
from scripts.command.bundle import BUNDLE, bundle_version
from scripts.command.start import start
from scripts.errors import InputError, brief
from scripts.plan import Plan
from scripts.plan.training import configured_keys

__all__ = ["main", "read_reference", "renamed"]

PUBLISHED = str(BUNDLE / "configs" / "published.yaml")
_BLOCK = [(r"conv\.0\.0\.", "conv.0."), (r"conv\.0\.1\.0\.", "conv.1."), (r"conv\.0\.1\.1\.", "conv.2.")]
_BLOCK += [(r"conv\.1\.fc\.", "conv.3.fc.")]
_NAMES = [
    (r"conv_in\.", "entry."),
    (r"conv_out\.0\.", "exit."),
    (r"down_layers\.(\d+)\.1\.", r"down.\1.0."),
    *((rf"down_layers\.(\d+)\.2\.{theirs}", rf"down.\1.1.{ours}") for theirs, ours in _BLOCK),
    (r"up_layers\.(\d+)\.0\.", r"up.\1."),
    *((rf"up_layers\.(\d+)\.1\.{theirs}", rf"merge.\1.{ours}") for theirs, ours in _BLOCK),
    (r"feat_layers\.(\d+)\.", r"project.\1."),
    (r"non_local\.theta\.", "attention.query."),
    (r"non_local\.phi\.", "attention.key."),
    (r"non_local\.g\.", "attention.value."),
    (r"non_local\.W\.", "attention.out."),
]
"""Beginnings of their names, as regular expressions, and of ours."""


def main(checkpoint: str, out: str, config: str | Sequence[str] = PUBLISHED) -> None:
    """Take the generator Y to X from a checkpoint of PyTorch Connectomics (projects/CySGAN), for inference here.

    Outputs are equal but for rounding. The weights carry a plan of network, maps and decoder. Inference takes scale,
    grey values and window from its configuration. Memory: the checkpoint, 140 MB for the published networks.

    Args:
        checkpoint: checkpoint_100000.pth.tar, say.
        out: weights to write, a name such as model.pt; must not exist.
        config: overlays on inference.yaml that describe its network and maps: published.yaml by default, and
            configs/published.yaml,configs/target_bc.yaml for two maps.

    Raises:
        InputError: the file is not such a checkpoint, its network is another one, or the output cannot be written.
    """
    path = Path(out)
    if path.exists():
        raise InputError(f"{path} exists already; expected a new name. Weights are not replaced.")
    check_folder(path.parent)
    parser = configuration("inference", overlay_files(config, "inference"))
    network, names = parser.get_parsed_content("network_def"), parser.get_parsed_content("representation").names
    state = renamed(read_reference(checkpoint))
    try:
        check_fit(network, state, f"{checkpoint}, Gb")
    except InputError as error:
        raise InputError(
            f"{error} Here: --config, for a network with other MODEL.FILTERS or maps; MODEL.ARCHITECTURE has to be "
            "unet_plus_3d, BLOCK_TYPE residual_se and NORM_MODE gn, as in CySGAN-Base.yaml."
        ) from error
    network.load_state_dict(state)
    save_atomically(noted_state(network, names, _plan(parser, checkpoint)), path)
    print(f"wrote {path}: image, {', '.join(names)}")


def _plan(parser: ConfigParser, checkpoint: str) -> Plan:
    """What is known: network, maps and decoder. How Y was scaled, and in which windows it was seen, is not."""
    known = configured_keys(parser)
    keys: dict[str, Any] = {key: known[key] for key in ("representation", "network_def", "decoder") if key in known}
    return Plan(keys, bundle_version(), {"converted_from": Path(checkpoint).name})


def read_reference(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the state dict of the generator Y to X, under the names of PyTorch Connectomics.

    Raises:
        InputError: no such file, not readable, or not a checkpoint of CySGAN.
    """
    try:
        with torch.serialization.safe_globals(_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Expected a checkpoint_….pth.tar of PyTorch Connectomics.") from None
    except Exception as error:
        raise InputError(
            f"{path}: found no readable checkpoint ({brief(error)}); expected a whole checkpoint_….pth.tar of PyTorch "
            "Connectomics. Copy it again; one that holds other things than tensors and numbers is not opened."
        ) from error
    generator = content.get("Gb") if isinstance(content, dict) else None
    state = generator.get("state_dict") if isinstance(generator, dict) else None
    if not isinstance(state, dict):
        found = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise InputError(
            f"{path}: found {found}; expected the entries of a CySGAN checkpoint, Gf, Gb, Dx, Dy and Ds, and a "
            "state_dict in Gb. Weights that training here wrote need no conversion."
        )
    return state


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict of theirs under our names; what has no counterpart keeps its name."""
    return {_ours(name): value for name, value in state.items()}


def _ours(name: str) -> str:
    name = name.removeprefix("module.")  # of DataParallel
    for theirs, ours in _NAMES:
        if re.match(theirs, name):
            return re.sub(theirs, ours, name, count=1)
    return name


def _numbers() -> list[Any]:
    """What numbers of numpy are unpickled by: learning rates may be such. None of it can run code."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *kinds]


if __name__ == "__main__":
    start(main)
