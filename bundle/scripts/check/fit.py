"""What has to fit together: values and their ranges, maps and channels, windows and network, patches and volumes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.check.merge import Merged
from scripts.check.problem import Problem, shown
from scripts.check.rule import rule_of
from scripts.check.tree import child, has, is_component, parent, walk
from scripts.check.value import UNKNOWN, Values
from scripts.command.argument import PATHS

__all__ = [
    "DECODERS",
    "are_items",
    "channels",
    "datasets",
    "device",
    "groups",
    "schedule",
    "values_in_range",
    "weights",
    "windows",
]

logger = logging.getLogger(__name__)

DECODERS: dict[str, tuple[str, ...]] = {
    "scripts.watershed.BCDWatershed": ("foreground", "contour", "distance"),
    "scripts.watershed.BCWatershed": ("foreground", "contour"),
    "scripts.watershed.AffinityWatershed": ("affinity",),
}
"""The maps that each decoder takes. A test compares the classes."""
TRIAL = 100
_BEGINNINGS = ("warm_up_iterations", "learning_rate_warm_up")
_DATA = ("dataset::data", "train::dataset::data", "validate::dataset::data")
ADVICE = {
    ("foreground", "contour"): "the overlay target_bc.yaml",
    ("affinity",): "the overlay target_affinity.yaml",
    ("foreground", "contour", "distance"): "the configuration without target_bc.yaml or target_affinity.yaml",
}


def values_in_range(merged: Merged, values: Values, base: Mapping[str, Any]) -> Iterator[Problem]:
    """Compare values with the table of ranges, or with the type of the base's default."""
    defaults = Values(base)
    for key, found in walk(merged.config):
        if not _comparable(merged.config, base, key) or _derived(base, key, found):
            continue
        default = UNKNOWN if _inside_component(base, key) else defaults[key]
        rule, value = rule_of(key, default), values[key]
        if key in _DATA:
            continue
        if is_component(child(base, key)) and isinstance(value, (bool, int, float, str)):
            yield Problem(merged.place(key), key, shown(found), "a definition, with _target_, or null")
        elif rule is not None and value is not UNKNOWN and not rule.holds(value):
            is_name = key in PATHS and not isinstance(value, (str, list))
            advice = "A name that is read as a number needs ./ before it." if is_name else _quoted_number(value)
            yield Problem(merged.place(key), key, _told(found, value), rule.expected, advice)


def channels(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare the maps with the decoder and with the channels of the networks."""
    maps = values.maps()
    if maps is None:
        return
    names, count = tuple(maps[0]), maps[1]
    decoder = child(merged.config, "decoder::_target_")
    if (taken := DECODERS.get(str(decoder), names)) != names:
        last = str(decoder).rpartition(".")[2]
        first = f"representation: found the maps {', '.join(names)}, but {last}, the decoder, takes {', '.join(taken)}"
        overlay = ADVICE.get(names)
        advice = f"Give {overlay}, which sets both, after what changes one of them" if overlay else "Set both alike"
        yield Problem("", "", f"{first}. {advice}, in training and in inference.")
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


def windows(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare window and patch with what the network shrinks them by."""
    stride = _stride(values) if _is_generator(merged) else None
    for key in () if stride is None else ("window", "patch_size"):
        size = values[key]
        if stride is not None and _three(size) and any(0 < n < s for n, s in zip(size, stride, strict=True)):
            advice = "Raise it, or give network_def::filters fewer stages."
            expected = f"at least {list(stride)} (z, y, x), which the network makes one voxel of"
            yield Problem(merged.place(key), key, shown(size), expected, advice)


def datasets(merged: Merged, values: Values) -> Iterator[Problem]:
    """Look at what replaces the files of a dataset, and see that labels that are given are scored against."""
    for key in _DATA:
        data = values[key]
        if not (data is UNKNOWN or are_items(data)):
            expected = "a list of dictionaries, [{'image': FILE}] or with 'label': FILE"
            yield Problem(merged.place(key), key, shown(data), expected)
    if isinstance(values["label"], (str, list)) and values["label_transforms"] == []:
        expected = "null, since nothing scores against it here"
        yield Problem(merged.place("label"), "label", shown(values["label"]), expected, "Add configs/evaluate.yaml.")


def are_items(data: Any) -> bool:
    """Return whether these are what a dataset of MONAI reads: dictionaries with the names of files."""
    return isinstance(data, list) and all(
        isinstance(item, Mapping)
        and isinstance(item.get("image"), str)
        and isinstance(item.get("label"), (str, type(None)))
        for item in data
    )


def device(merged: Merged, values: Values) -> Iterator[Problem]:
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
        yield Problem(
            merged.place("device"), "device", shown(found), expected, "Leave it out to take the best of them."
        )


def groups(merged: Merged, values: Values) -> Iterator[Problem]:
    """Compare the widths of the network with the groups of its norm."""
    filters, norm = (values[f"network_def::{name}"] for name in ("filters", "norm"))
    if not _is_generator(merged) or not isinstance(filters, list) or not isinstance(norm, list) or len(norm) != 2:
        return
    number = norm[1].get("num_groups") if norm[0] == "group" and isinstance(norm[1], dict) else None
    if isinstance(number, int) and number > 0 and any(isinstance(width, int) and width % number for width in filters):
        key = "network_def::filters"
        yield Problem(merged.place(key), key, shown(filters), f"multiples of {number}, network_def::norm's groups")


def schedule(merged: Merged, values: Values) -> Iterator[Problem]:
    """See that the course of a training leaves room for its second part, in which X and Y are both learnt from.

    A warm-up that is worked out from the length, as overlays for the source alone have it, is meant. A few iterations
    (`TRIAL`) are a trial: of these a warning is enough, and a trial may keep the warm-up of its configuration.
    """
    length, warm_up, rise = (values[key] for key in ("max_iterations", *_BEGINNINGS))
    if not all(isinstance(value, int) for value in (length, warm_up, rise)):
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
        found = f"learning_rate_warm_up {rise} iterations, but {length - warm_up} come after the warm-up on the source"
        logger.warning("%s: the learning rate never gets to its full value. Lower it, or raise max_iterations.", found)


def weights(merged: Merged, values: Values, base: str) -> Iterator[Problem]:
    """See that files of weights that are read are there."""
    for key in ("model_path",) if base == "inference" else ("start_from",):
        path = values[key]
        if isinstance(path, str) and not Path(path).expanduser().is_file():
            found = f"{path}: no such file. Expected the weights of a trained network, such as models/model.pt."
            yield Problem("", key, found)


def _is_generator(merged: Merged) -> bool:
    return child(merged.config, "network_def::_target_") == "scripts.networks.SegmentationGenerator"


def _stride(values: Values) -> tuple[int, int, int] | None:
    """How many voxels (z, y, x) the network makes one of: y and x halve at every stage but the first, z later."""
    filters, isotropic = (values[f"network_def::{name}"] for name in ("filters", "isotropic_from"))
    isotropic = 3 if isotropic is UNKNOWN else isotropic
    if not isinstance(filters, list) or not isinstance(isotropic, int) or isinstance(isotropic, bool):
        return None
    plane, depth = len(filters) - 1, len(range(max(1, isotropic), len(filters)))
    return (2**depth, 2**plane, 2**plane)


def _comparable(config: Mapping[str, Any], base: Mapping[str, Any], key: str) -> bool:
    """Whether a rule counts for an id: nothing above it is another component than in the base."""
    above = parent(key)
    while above:
        here, there = child(config, above), child(base, above)
        if not isinstance(here, dict) or (has(base, above) and _kind(here) != _kind(there)):
            return False
        above = parent(above)
    return True


def _derived(base: Mapping[str, Any], key: str, found: Any) -> bool:
    """Whether a value is worked out as in the base: what it comes from is told where it stands."""
    return isinstance(found, str) and found.startswith(("@", "$")) and child(base, key) == found


def _inside_component(base: Mapping[str, Any], key: str) -> bool:
    """Whether the type of a default says little: arguments may take several."""
    above = parent(key)
    while above and not is_component(child(base, above)):
        above = parent(above)
    return above != ""


def _kind(value: Any) -> Any:
    return value["_target_"] if is_component(value) else type(value)


def _told(found: Any, value: Any) -> str:
    """A value, and what it was worked out from."""
    return shown(value) if found == value else f"{shown(value)} ({found})"


def _quoted_number(value: Any) -> str:
    """YAML reads 1e-3 as a text."""
    try:
        return f"Write {float(value)!r}: YAML takes it for a text." if isinstance(value, str) else ""
    except ValueError:
        return ""


def _three(value: Any) -> bool:
    whole: Sequence[Any] = value if isinstance(value, list) else ()
    return len(whole) == 3 and all(isinstance(n, int) for n in whole)
