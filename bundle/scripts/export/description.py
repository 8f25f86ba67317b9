"""What a package for bioimage.io says of the network: its description, and a page to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.export.note import Note

__all__ = ["INPUT", "OUTPUT", "PAGE", "described", "page"]

INPUT, OUTPUT, PAGE = "input.npy", "output.npy", "README.md"
"""Files of a package: test arrays, documentation."""
_TAGS = ("cysgan", "3d", "nuclei", "unet", "pytorch", "instance-segmentation", "fluorescence-light-microscopy")
_DOI = re.compile(r"doi:\s*(\S+)|arXiv:\s*([\d.]+\d)")


def described(note: Note, metadata: Mapping[str, Any], weights: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description, to which `bioimageio.spec` adds the version of its format, hashes and a cover.

    Args:
        note: of the network.
        metadata: of the bundle, configs/metadata.json.
        weights: by the format's names of them, "torchscript" and "onnx": file and versions.
    """
    return {
        "type": "model",
        "name": re.sub(r"[^\w+() -]", "", metadata["name"]),
        "description": metadata["description"],
        "version": note.version,
        "license": "Apache-2.0",
        "authors": [{"name": metadata["authors"].partition(";")[0].replace("/", " ")}],
        "cite": [entry for reference in metadata["references"] if (entry := _cited(reference))],
        "tags": list(_TAGS),
        "documentation": {"source": PAGE},
        "inputs": [_input(note)],
        "outputs": [_output(note)],
        "weights": {name: dict(entry) for name, entry in weights.items()},
        "config": {"cysgan": note._asdict()},
    }


def page(note: Note, metadata: Mapping[str, Any], trained_on: str) -> str:
    """Return the documentation, Markdown: what the format cannot say, and how to judge results.

    Args:
        note: of the network.
        metadata: of the bundle.
        trained_on: a sentence about the training data.
    """
    low, high = note.intensity_percentiles
    channels = "\n".join(
        f"- `{name}`, {'-1 to 1 (tanh)' if how == 'tanh' else '0 to 1 (sigmoid)'}"
        for name, how in zip(note.channel_names, note.activations, strict=True)
    )
    return f"""# {metadata["name"]}

{metadata["description"]} This package holds the generator that segments the unlabelled modality, without the
translated image. Version {note.version} of the CySGAN bundle. {metadata["intended_use"]}.

## Input

One channel, axes batch, channel, z, y, x, windows of {_times(note.window)} voxels (z, y, x).

- **Resize first.** The network expects a volume resized by the factors {_times(note.scale)} (z, y, x), averaged where
  it shrinks. The format cannot say this: resize before, and the maps back after.
- Grey values: percentiles {low:g} and {high:g} become 0 and 1, what lies beyond is clipped; both steps are in the
  description. Take the percentiles **of the whole volume**: a program that scales each window alone gives other maps.
- The exponent {note.intensity_gamma:g} of the grey values and the step to [-1, 1] are inside the network.

## Output

Maps, of the window's size:

{channels}

Norms of the network look at the whole window, so another window size gives slightly other maps. Instances are not in
the package: the bundle decodes them by a seeded watershed (`python -m scripts.watershed`).

## Training data

{trained_on} Parents: none.

## Validation

Score instances against labels of a part of your volume, by average precision at an overlap (IoU) of 0.5, before you
trust the rest. The figures that the authors of the bundle measured, and on what, are in its model card.
The test input is a window of a simulated volume; the test output is what PyTorch gives for it.
"""


def _times(numbers: Sequence[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)


def _cited(reference: str) -> dict[str, str] | None:
    found = _DOI.search(reference)
    if found is None:
        return None
    doi, arxiv = found.groups()
    return {"text": reference, "doi": doi or f"10.48550/arXiv.{arxiv}"}


def _input(note: Note) -> dict[str, Any]:
    low, high = note.intensity_percentiles
    axes = ["channel", "z", "y", "x"]
    space = [{"type": "space", "id": name, "size": n} for name, n in zip("zyx", note.window, strict=True)]
    return {
        "id": "image",
        "description": "Grey values, resized as the documentation says",
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["image"]}, *space],
        "test_tensor": {"source": INPUT},
        "data": {"type": "float32"},
        "preprocessing": [
            {"id": "scale_range", "kwargs": {"axes": axes, "min_percentile": low, "max_percentile": high}},
            {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}},
        ],
    }


def _output(note: Note) -> dict[str, Any]:
    """Return maps; a quarter of a window at each side is to be cropped, as overlapping windows are in the bundle."""
    space = [
        {"type": "space", "id": name, "size": {"tensor_id": "image", "axis_id": name}, "halo": max(1, n // 4)}
        for name, n in zip("zyx", note.window, strict=True)
    ]
    ranges = [[-1.0, 1.0] if how == "tanh" else [0.0, 1.0] for how in note.activations]
    return {
        "id": "maps",
        "description": "Maps that a watershed makes instances of",
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": note.channel_names}, *space],
        "test_tensor": {"source": OUTPUT},
        "data": [{"type": "float32", "range": limits} for limits in ranges],
    }
