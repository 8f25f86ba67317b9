"""The plan: keys of inference.yaml with their values, and facts about the training that chose them."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.volume_io.physical import voxel_factor, voxels

__all__ = ["FIXED", "FORMAT", "MAY_DIFFER", "METADATA", "WITHOUT_EFFECT", "Plan"]

FORMAT = 1
"""Of the text; a file with a higher one was written by a later version of the bundle."""
METADATA = "plan"
"""Name of the plan among the metadata of a state dict, an export, an HDF5 file or a Zarr store."""
FIXED = (
    *("scale", "training_voxel_size", "intensity_percentiles", "intensity_gamma"),
    *("representation", "network_def", "window", "window_padding", "blending"),
)
"""Keys of inference.yaml that the network was trained with: another value gives wrong maps."""
MAY_DIFFER = ("decoder", "overlap", "flips")
"""Keys of inference.yaml that a user may choose for each result, which records them."""
WITHOUT_EFFECT = ("checkpoint_activations",)
"""Arguments of `network_def` that change time and memory alone. No model's plan has them, and none contradicts one."""
_ROOMS = {"representation": "representation", "network_def": "networks", "decoder": "watershed"}
"""Keys that define an object, and the room of its class."""
_DEEPEST = 20  # levels; plans of ours have six, and a stranger's would end whatever prints it
_OWN_CLASS = re.compile(r"scripts\.(representation|watershed|networks)\.([A-Z]\w*)")


@dataclass(frozen=True)
class Plan:
    """What must be known to use a model, and what it was trained on. A plan is plain data: nothing in it is evaluated.

    Attributes:
        keys: of inference.yaml, some of `FIXED` and `MAY_DIFFER`. Values are literals. Definitions (`_target_`) name
            classes of this bundle, with literal arguments.
        version: of the bundle that wrote it.
        trained_on: facts for people, such as `image_x`, `image_y` (names of files), `iterations`, `stage`.
        changed: keys of `MAY_DIFFER`, and `scale`, that a result was made with and the model has otherwise: the
            model's own values. Empty in a model.
    """

    keys: Mapping[str, Any]
    version: str = ""
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject what is no plan: it may come from a file of somebody else.

        Raises:
            InputError: an unknown key, an expression, a reference, or a class of another package.
        """
        for name in ("keys", "trained_on", "changed"):
            if not isinstance(value := getattr(self, name), Mapping):
                raise InputError(f"plan: found {name} {value!r}, expected keys and values.")
        for value in (self.keys, self.changed):
            if (wrong := _wrong(value)) is not None:
                raise InputError(f"plan: found {wrong!r}, expected plain values and classes that this bundle has.")
            for key in (key for key in _ROOMS if key in value and not _is_of(_ROOMS[key], value[key])):
                raise InputError(f"plan: found {key} {value[key]!r}, expected a class of scripts.{_ROOMS[key]}.")
        if unknown := sorted({*self.keys, *self.changed} - {*FIXED, *MAY_DIFFER}):
            raise InputError(f"plan: found the key {unknown[0]}, expected {', '.join((*FIXED, *MAY_DIFFER))}.")

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """(z, y, x) in micrometres of the Y that was trained on; None where its files do not state it."""
        size = self.keys.get("training_voxel_size")
        return None if size is None else (float(size[0]), float(size[1]), float(size[2]))

    def with_keys(self, keys: Mapping[str, Any]) -> Plan:
        """Return the plan of a result that was made with these values; what differs is noted in `changed`."""
        other = {name: self.keys[name] for name in keys if name in self.keys and self.keys[name] != keys[name]}
        new = {**self.keys, **keys}
        changed = {name: value for name, value in {**other, **self.changed}.items() if new.get(name) != value}
        return replace(self, keys=new, changed=changed)

    def for_volume(self, scale: Sequence[float]) -> Plan:
        """Return the plan of a result of one volume, whose voxels have another size than those that were trained on.

        Args:
            scale: factors (z, y, x) at which the network saw it. Sizes of the decoder, in voxels, change with it.
        """
        own, decoder = self.keys.get("scale"), dict(self.keys.get("decoder") or {})
        if own is None or list(own) == [float(factor) for factor in scale]:
            return self
        factor = voxel_factor(scale, own)
        sizes = {
            name: voxels(decoder[name], factor) for name in ("min_seed_size", "min_instance_size") if name in decoder
        }
        return self.with_keys(
            {"scale": [float(factor) for factor in scale], **({"decoder": {**decoder, **sizes}} if sizes else {})}
        )

    def to_text(self) -> str:
        """Return the plan as JSON, for the metadata of a file."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_text(cls, text: str, source: Any = "") -> Plan:
        """Return the plan that `to_text` made.

        Args:
            text: JSON.
            source: the file, for messages.

        Raises:
            InputError: it is no plan, one of a newer version, or one that `Plan` rejects; the file is named.
        """
        try:
            found = json.loads(text)
            version, number = str(found.get("version", "")), int(found["format"])
            fields = {name: found[name] for name in ("keys", "trained_on", "changed")} if number <= FORMAT else {}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{source}: found a plan that cannot be read ({reason}).") from error
        if number > FORMAT:
            raise InputError(
                f"{source}: found a plan of format {number}, written by version {version} of the bundle; expected "
                f"format {FORMAT} or lower. Update the bundle, or train the model again with this version."
            )
        if _is_nested(fields, _DEEPEST):
            raise InputError(f"{source}: found a plan that cannot be read (nested too deeply).")
        try:
            return cls(version=version, **fields)
        except InputError as error:
            raise InputError(f"{source}: {error} Version {version or 'unknown'} of the bundle wrote it.") from None


def _is_nested(value: Any, levels: int) -> bool:
    """Whether lists and dictionaries are within each other more than so many times."""
    parts = [value]
    for _ in range(levels + 1):
        inner = [
            part.values() if isinstance(part, Mapping) else part for part in parts if isinstance(part, Mapping | list)
        ]
        parts = [part for one in inner for part in one]
    return any(isinstance(part, Mapping | list) for part in parts)


def _is_of(room: str, definition: Any) -> bool:
    return isinstance(definition, Mapping) and str(definition.get("_target_", "")).startswith(f"scripts.{room}.")


def _is_own_class(target: Any) -> bool:
    found = _OWN_CLASS.fullmatch(target) if isinstance(target, str) else None
    return found is not None and found[2] in _names(found[1])


@cache
def _names(room: str) -> frozenset[str]:
    """Names that a room exports, read from its source: importing it would import torch."""
    tree = ast.parse((Path(__file__).resolve().parents[1] / room / "__init__.py").read_text(encoding="utf-8"))
    lists = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return frozenset(name for names in lists for name in ast.literal_eval(names))


def _wrong(value: Any) -> Any:
    """Return the first part of a value that is not plain data; None where there is none."""
    if isinstance(value, Mapping):
        if "_target_" in value and not _is_own_class(value["_target_"]):
            return "no class" if value["_target_"] is None else value["_target_"]
        names = [name for name in value if not isinstance(name, str) or (name.startswith("_") and name != "_target_")]
        return names[0] if names else next((w for part in value.values() if (w := _wrong(part)) is not None), None)
    if isinstance(value, list | tuple):
        return next((w for part in value if (w := _wrong(part)) is not None), None)
    if isinstance(value, str):
        return value if value[:1] in ("$", "@", "%") or "@" in value else None
    if isinstance(value, float) and not math.isfinite(value):
        return value
    return None if value is None or isinstance(value, bool | int | float) else value
