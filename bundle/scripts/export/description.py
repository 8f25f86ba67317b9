"""What a package for bioimage.io says of the network: its description, and a page to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.command.bundle import bundle_version
from scripts.export.note import KEY, Note, readable
from scripts.plan import METADATA, Plan

__all__ = ["INPUT", "OUTPUT", "PAGE", "described", "page", "trained_on"]

INPUT, OUTPUT, PAGE = "input.npy", "output.npy", "README.md"
"""Files of a package: test arrays, documentation."""
_LONGEST = 1024  # signs of a description
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
        "description": f"{metadata['description']} {trained_on(note.plan)}"[:_LONGEST],
        "version": bundle_version(),
        "license": "Apache-2.0",
        "authors": [{"name": metadata["authors"].partition(";")[0].replace("/", " ")}],
        "cite": [entry for reference in metadata["references"] if (entry := _cited(reference))],
        "tags": list(_TAGS),
        "documentation": {"source": PAGE},
        "inputs": [_input(note)],
        "outputs": [_output(note)],
        "weights": {name: dict(entry) for name, entry in weights.items()},
        "config": {KEY: {**readable(note), METADATA: note.plan.to_text()}},
    }


def page(note: Note, metadata: Mapping[str, Any]) -> str:
    """Return the documentation, Markdown: what the format cannot say, and how to judge results.

    Args:
        note: of the network.
        metadata: of the bundle.
    """
    keys = note.plan.keys
    low, high = keys["intensity_percentiles"]
    channels = "\n".join(
        f"- `{name}`, {'-1 to 1 (tanh)' if how == 'tanh' else '0 to 1 (sigmoid)'}"
        for name, how in zip(note.channel_names, note.activations, strict=True)
    )
    return f"""# {metadata["name"]}

{metadata["description"]} This package holds the generator that segments the unlabelled modality, without the
translated image. Version {bundle_version()} of the CySGAN bundle. {metadata["intended_use"]}.

## Input

One channel, axes batch, channel, z, y, x, windows of {_times(keys["window"])} voxels (z, y, x).

- **Resize first.** The network expects a volume resized by the factors {_times(keys["scale"])} (z, y, x), averaged
  where it shrinks. The format cannot say this: resize before, and the maps back after.{_for_voxels(note.plan)}
- Grey values: percentiles {low:g} and {high:g} become 0 and 1, what lies beyond is clipped; both steps are in the
  description. Take the percentiles **of the whole volume**: a program that scales each window alone gives other maps.
- The exponent {keys["intensity_gamma"]:g} of the grey values and the step to [-1, 1] are inside the network.

## Output

Maps, of the window's size:

{channels}

Norms of the network look at the whole window, so another window size gives slightly other maps. Instances are not in
the package: the bundle decodes them by a seeded watershed (`python -m scripts.watershed`).

## Training data

{trained_on(note.plan)} Parents: none.

## Validation

Score instances against labels of a part of your volume, by average precision at an overlap (IoU) of 0.5, before you
trust the rest. The figures that the authors of the bundle measured, and on what, are in its model card.
The test input is a window of a simulated volume; the test output is what PyTorch gives for it.
"""


def trained_on(plan: Plan) -> str:
    """Return a sentence with the facts that a plan has about the training."""
    facts = [f"{name.replace('_', ' ')}: {_listed(value)}" for name, value in plan.trained_on.items() if value]
    return f"Trained on {'; '.join(facts)}." if facts else "What it was trained on is not stated."


def _for_voxels(plan: Plan) -> str:
    """Return for which voxels the scale holds, where the training's volumes stated theirs."""
    if (size := plan.voxel_size) is None:
        return ""
    advice = "For others, multiply each by the ratio of their side to this one."
    return f" These factors are for voxels\n  of {_times(size)} µm (z, y, x). {advice}"


def _listed(value: Any) -> str:
    """Volumes as "name (shape)", lists with commas between."""
    if isinstance(value, list | tuple):
        return ", ".join(dict.fromkeys(map(_listed, value)))
    if isinstance(value, Mapping) and {"name", "shape"} <= value.keys():
        return f"{value['name']} ({' × '.join(map(str, value['shape']))})"
    return str(value)


def _times(numbers: Sequence[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)


def _cited(reference: str) -> dict[str, str] | None:
    found = _DOI.search(reference)
    if found is None:
        return None
    doi, arxiv = found.groups()
    return {"text": reference, "doi": doi or f"10.48550/arXiv.{arxiv}"}


def _input(note: Note) -> dict[str, Any]:
    low, high = note.plan.keys["intensity_percentiles"]
    axes = ["channel", "z", "y", "x"]
    space = [{"type": "space", "id": name, "size": n} for name, n in zip("zyx", note.plan.keys["window"], strict=True)]
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
        for name, n in zip("zyx", note.plan.keys["window"], strict=True)
    ]
    ranges = [[-1.0, 1.0] if how == "tanh" else [0.0, 1.0] for how in note.activations]
    return {
        "id": "maps",
        "description": "Maps that a watershed makes instances of",
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": note.channel_names}, *space],
        "test_tensor": {"source": OUTPUT},
        "data": [{"type": "float32", "range": limits} for limits in ranges],
    }
