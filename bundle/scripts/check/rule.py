"""Rules that span several keys: references, maps and channels, windows and network, the course of a training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.check.merge import Merged
from scripts.check.problem import Problem, closest, shown
from scripts.check.tree import SEPARATOR, child, has, is_component, parent, referred, walk
from scripts.check.value import UNKNOWN, Values

__all__ = ["DECODERS", "cross_rules", "misfit", "weights"]

logger = logging.getLogger(__name__)

DECODERS: dict[str, tuple[str, ...]] = {
    "scripts.watershed.BCDWatershed": ("foreground", "contour", "distance"),
    "scripts.watershed.BCWatershed": ("foreground", "contour"),
    "scripts.watershed.AffinityWatershed": ("affinity",),
}
"""The maps that each decoder takes. A test compares the classes."""
_OVERLAYS = {
    ("foreground", "contour"): "the overlay target_bc.yaml",
    ("affinity",): "the overlay target_affinity.yaml",
    ("foreground", "contour", "distance"): "the configuration without target_bc.yaml or target_affinity.yaml",
}
# Of so few iterations a warning is enough: they are a trial, which may keep the warm-up of its configuration.
TRIAL = 100
_BEGINNINGS = ("warm_up_iterations", "learning_rate_warm_up")
# What is wanted by habit, also where every volume is named by itself.
_HARMLESS = ("dataset_dir", "bundle_root")
_QUARTER_TURNS = ("RandRotate90d", "RandRotate90D", "RandRotate90Dict", "Rotate90d", "Rotate90D", "Rotate90Dict")
_NOTED = "settings"  # what a checkpoint keeps to be compared, which has no other effect


def cross_rules(merged: Merged, values: Values, base: Mapping[str, Any]) -> Iterator[Problem]:
    """Apply all of them; `base` is the base as shipped."""
    yield from _lost_references(merged)
    yield from _without_effect(merged, base)
    yield from _channels(merged, values)
    if child(merged.config, "network_def::_target_") == "scripts.networks.SegmentationGenerator":
        yield from _windows(merged, values)
        yield from _groups(merged, values)
    yield from _schedule(merged, values)
    yield from _turns(merged, values)
    yield from _share(merged, values)
    if isinstance(values["label"], str | list) and values["label_transforms"] == []:
        expected = "null, since nothing scores against it here"
        yield Problem(merged.place("label"), "label", shown(values["label"]), expected, "Add configs/evaluate.yaml.")
    yield from _device(merged, values)


def misfit(found: Sequence[str], decoder: str, taken: Sequence[str]) -> str:
    """Return what is wrong where a decoder takes other maps than there are, nothing where they are the same.

    The number of channels alone does not tell: three affinities and the three maps of BCD give the same network.
    """
    if not found or not taken or tuple(found) == tuple(taken):
        return ""
    overlay = _OVERLAYS.get(tuple(found))
    advice = f"Give {overlay}, which sets both, after what changes one of them" if overlay else "Set both alike"
    maps = f"representation: found the maps {', '.join(found)}"
    return f"{maps}, but {decoder}, the decoder, takes {', '.join(taken)}. {advice}."


def weights(merged: Merged, values: Values, base: str) -> Iterator[Problem]:
    """See that the file of weights that is read is there."""
    key = "model_path" if base == "inference" else "start_from"
    path = values[key]
    if isinstance(path, str) and not Path(path).expanduser().is_file():
        found = f"{path}: no such file. Expected the weights of a trained network, such as models/model.pt."
        yield Problem("", key, found)


def _lost_references(merged: Merged) -> Iterator[Problem]:
    known = [key for key, _ in walk(merged.config)]
    for name, key in referred(merged.config).items():
        if name and not has(merged.config, name):
            yield Problem(merged.place(key), key, f"@{name}", "an id that is there", closest(name, known))


def _without_effect(merged: Merged, base: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what the command line sets without effect: what the base refers to it with was replaced."""
    used, before = (referred({k: v for k, v in config.items() if k != _NOTED}) for config in (merged.config, base))
    for key in merged.overridden:
        if _reached(before, key) and not _reached(used, key) and key.split(SEPARATOR)[0] not in _HARMLESS:
            advice = "An overlay, or the plan of the model, has replaced what referred to it. Leave it out."
            yield Problem(merged.place(key), key, "a key without effect", "one that is still referred to", advice)


def _reached(used: Mapping[str, str], key: str) -> bool:
    """Whether something refers to an id, a part of it or what it is a part of."""
    return any(f"{key}::".startswith(f"{name}::") or f"{name}::".startswith(f"{key}::") for name in used)


def _channels(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare the maps with the decoder and with the channels of the networks."""
    if (maps := values.maps()) is None:
        return
    names, count = maps
    decoder = str(child(merged.config, "decoder::_target_"))
    if text := misfit(names, decoder.rpartition(".")[2], DECODERS.get(decoder, ())):
        yield Problem("", "", text)
    wanted = {
        "network_def::out_channels": (1 + count, f"the translated image and {count} of {', '.join(names)}"),
        "network_def::in_channels": (1, "the image"),
        "image_discriminator_def::in_channels": (1, "the image"),
        "map_discriminator_def::in_channels": (count, f"the channels of {', '.join(names)}"),
    }
    for key, (number, why) in wanted.items():
        found = values[key]
        if found is not UNKNOWN and found != number and "_disabled_" not in child(merged.config, parent(key)):
            yield Problem(merged.place(key), key, shown(found), f"{number}, {why}")


def _windows(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare window and patch with what the network makes one voxel of.

    y and x halve at every stage but the first, z from `isotropic_from` on.
    """
    filters, isotropic = (values[f"network_def::{name}"] for name in ("filters", "isotropic_from"))
    isotropic = 3 if isotropic is UNKNOWN else isotropic
    if not isinstance(filters, list) or type(isotropic) is not int:
        return
    plane = 2 ** (len(filters) - 1)
    stride = [2 ** len(range(max(1, isotropic), len(filters))), plane, plane]
    for key in ("window", "patch_size"):
        size = values[key]
        if _are_whole(size, 3) and any(0 < n < s for n, s in zip(size, stride, strict=True)):
            advice = "Raise it, or give network_def::filters fewer stages."
            expected = f"at least {stride} (z, y, x), which the network makes one voxel of"
            yield Problem(merged.place(key), key, shown(size), expected, advice)


def _groups(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare the widths of the network with the groups of its norm."""
    key, norm = "network_def::filters", values["network_def::norm"]
    number = norm[1].get("num_groups") if isinstance(norm, list) and norm[:1] == ["group"] else None
    filters = values[key]
    if type(number) is int and number > 0 and _are_whole(filters) and any(width % number for width in filters):
        yield Problem(merged.place(key), key, shown(filters), f"multiples of {number}, network_def::norm's groups")


def _schedule(merged: Merged, values: Values) -> Iterator[Problem]:
    """See that a training has room for its second part, in which X and Y are both learnt from.

    A warm-up that is worked out from the length, as overlays for the source alone have it, is intended.
    """
    length, warm_up, rise = numbers = [values[key] for key in ("max_iterations", *_BEGINNINGS)]
    if not _are_whole(numbers):
        return
    key = _BEGINNINGS[0]
    if warm_up >= length and isinstance(child(merged.config, key), int):
        found, expected = f"{warm_up}, all of max_iterations {length}", "fewer iterations than the training has"
        advice = "X and Y would never be trained on together. For the source alone give baseline_source_only.yaml."
        problem = Problem(merged.place(key), key, found, expected, advice)
        if length > TRIAL or (merged.given(key) and merged.given("max_iterations")):
            yield problem
        else:
            logger.warning("%s", problem)
    elif 0 <= warm_up < length < warm_up + rise and length > TRIAL:
        found = f"learning_rate_warm_up {rise} iterations, but {length - warm_up} follow the warm-up on the source"
        logger.warning("%s: the learning rate never reaches its full value. Lower it, or raise max_iterations.", found)


def _turns(merged: Merged, values: Values) -> Iterator[Problem]:
    """See that patches which are turned by a quarter have equal sides there: turned and unturned ones make a batch."""
    size = values["patch_size"]
    for key, one in walk({"pair_transforms": merged.config.get("pair_transforms")}):
        if not is_component(one) or one["_target_"].rpartition(".")[2] not in _QUARTER_TURNS or "_disabled_" in one:
            continue
        axes = values.of(one.get("spatial_axes", [0, 1]))
        if _are_whole(size, 3) and _are_whole(axes, 2) and size[axes[0] % 3] != size[axes[1] % 3]:
            turned = " and ".join("zyx"[axis % 3] for axis in axes)
            expected = f"equal sides {turned}, which {key}, {one['_target_']}, turns by a quarter"
            advice = "Make them equal, or leave the quarter turns out."
            yield Problem(merged.place("patch_size"), "patch_size", shown(size), expected, advice)
            return


def _share(merged: Merged, values: Values) -> Iterator[Problem]:
    """See that a term which holds Y's foreground inside an interval has one."""
    key = "loss_weights::share_y"
    if values["share_y"] is None and type(weight := values[key]) in (int, float) and weight > 0:
        expected = "0, since share_y, the interval that this term holds Y's foreground inside, is null"
        advice = "Give share_y: [lowest, highest], which scripts.match_domains writes into its overlay."
        yield Problem(merged.place(key), key, shown(weight), expected, advice)


def _device(merged: Merged, values: Values) -> Iterator[Problem]:
    """See that a device that is named is one of this machine; PyTorch is asked, unless it is the CPU."""
    found = values["device"]
    if found is UNKNOWN or found == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=found)
    except Exception:  # what it raises differs by device and build
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        there = ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
        expected = f"a device of this machine as PyTorch sees it: {', '.join(there)}"
        advice = "Leave it out to take the best of them."
        yield Problem(merged.place("device"), "device", shown(found), expected, advice)


def _are_whole(value: Any, count: int | None = None) -> bool:
    return isinstance(value, list) and count in (None, len(value)) and all(type(one) is int for one in value)
