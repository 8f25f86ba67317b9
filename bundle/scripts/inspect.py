"""The plan of a file in a readable form: ``python -m scripts.inspect model.pt``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json import dumps, loads
from typing import Any

from scripts.command.flag import flag
from scripts.command.start import start
from scripts.plan import FIXED, MAY_DIFFER, Plan
from scripts.plan.file import read_plan
from scripts.volume_io import split_dataset
from scripts.volume_io.paths import SUFFIXES, is_zarr

__all__ = ["main", "printable", "readable", "sections_of"]

Row = tuple[str, str]
_SIZES = ("scale", "training_voxel_size", "window", "window_padding", "shape", "voxel_size")
_UNITS = {
    "scale": " (z, y, x), by which volumes are resized first",
    "training_voxel_size": " µm (z, y, x), in the volumes of Y that were trained on",
    "intensity_percentiles": " %: the grey values that become -1 and 1",
    "intensity_gamma": ", exponent of the grey values in between",
    "window": " voxels (z, y, x), after resizing",
    "window_padding": " voxels (z, y, x) around a volume",
    "overlap": " of a window",
    "flips": ", over which maps are averaged",
}
_WEIGHTS = (
    "Version 0.4 or another program wrote it. Inference uses the values of the configuration, and warns: give it the "
    "overlays and keys of the training, such as target_….yaml, scale, intensity_percentiles and intensity_gamma."
)
_RESULT = (
    "Version 0.4 or another program wrote it. Decoding it again uses the documented defaults: give the target and the "
    "thresholds that it was made with."
)
_NO_PLACE = "TIFF and NIfTI have no place for one. The file of maps of the same inference, …_maps.h5, has it."
_VOLUMES = {"image_x": "X", "image_y": "Y", "image_x_more": "X, further", "image_y_more": "Y, further"}


def main(path: str, json: bool | str = False) -> None:
    """Print how a network sees its volumes, and what it was trained on, as the file itself says.

    Args:
        path: weights (model.pt) or a checkpoint; maps or instances as HDF5 or Zarr; or an exported network.
        json: print JSON instead; null for a file without a plan.

    Raises:
        InputError: no such file, it cannot be read, or its plan is damaged or of a newer version.
    """
    plan = read_plan(path)
    if flag(json, "json"):
        print(dumps(None if plan is None else loads(plan.to_text()), indent=2))
    elif plan is None:
        print(_without_plan(path))
    else:
        print("\n".join(readable(plan, path, shutil.get_terminal_size((120, 24)).columns)))


def readable(plan: Plan, path: str, width: int = 120) -> list[str]:
    """Return a plan as lines of text, with units.

    Args:
        plan: of a file.
        path: the file.
        width: of the text, at least 60.
    """
    sections = sections_of(plan)
    margin = max(len(name) for rows in sections.values() for name, _ in rows) + 4
    lines = [f"{path}: plan by version {plan.version or 'unknown'} of the bundle"]
    for title, rows in sections.items():
        lines += ["", title] if rows else []
        for name, value in rows:
            lines += _folded(printable(f"  {name}".ljust(margin) + value), margin, max(60, width))
    return [printable(lines[0]), *lines[1:]]


def sections_of(plan: Plan, keys: Sequence[str] = (*FIXED, *MAY_DIFFER)) -> dict[str, list[Row]]:
    """Return a plan as names and values in words, by section; one with nothing in it has no row.

    Args:
        plan: of a file.
        keys: what is described.
    """
    fixed, free = ([key for key in kind if key in keys] for kind in (FIXED, MAY_DIFFER))
    lacking = [key for key in keys if key not in plan.keys]
    return {
        "fixed by the training": [*_described(plan, fixed), *_seen(plan)],
        "chosen for each result": list(_described(plan, free)),
        "not the model's own": list(_changes(plan)),
        "not in the plan": [(key, "the configuration's value is used, with a warning") for key in lacking],
        "trained on": list(_facts(plan.trained_on)),
    }


def _without_plan(path: str) -> str:
    file = split_dataset(path)[0]
    if is_zarr(file) or file.name.lower().endswith(SUFFIXES["hdf5"]):
        means = _RESULT
    else:
        means = _NO_PLACE if file.name.lower().endswith((*SUFFIXES["tiff"], *SUFFIXES["nifti"])) else _WEIGHTS
    return printable(f"{path}: carries no plan. {means}")


def _described(plan: Plan, keys: Sequence[str]) -> Iterator[Row]:
    for key in keys:
        if key in plan.keys:
            yield from _definition(key, plan.keys[key])


def _definition(key: str, value: Any) -> Iterator[Row]:
    """A key with its value, or with its class and the arguments below it."""
    if not isinstance(value, Mapping):
        yield key, _value(key, value)
        return
    yield key, _class(value)
    for name, part in value.items():
        if isinstance(part, list) and part and all(isinstance(one, Mapping) for one in part):
            yield from ((f"  {name} {number}", _value("", one)) for number, one in enumerate(part, 1))
        elif name != "_target_":
            yield f"  {name}", _value(name, part)


def _changes(plan: Plan) -> Iterator[Row]:
    """What the model has otherwise; of a definition of the same class the arguments that differ."""
    for key, value in plan.changed.items():
        here = plan.keys.get(key)
        if isinstance(value, Mapping) and isinstance(here, Mapping) and _class(value) == _class(here):
            for name in (name for name in value if value[name] != here.get(name)):
                yield name, f"{_value(name, value[name])} in the model"
        else:
            yield key, f"{_value(key, value)} in the model"


def _facts(facts: Mapping[str, Any]) -> Iterator[Row]:
    for name, value in facts.items():
        if name in ("image_x", "image_y") and isinstance(value, list):
            texts = [_volume(volume) for volume in value]
            for text in dict.fromkeys(texts):
                count = texts.count(text)
                yield _VOLUMES[name], text + (f"; {count} such volumes" if count > 1 else "")
        elif value is not None:
            yield _VOLUMES.get(name, name.replace("_", " ")), _value(name, value)


def _volume(volume: Any) -> str:
    if not isinstance(volume, Mapping):
        return str(volume)
    size = volume.get("voxel_size")
    unit = "of unknown size" if size is None else f"of {_value('voxel_size', size)} µm"
    return f"{volume.get('name') or 'without a name'}, {_value('shape', volume.get('shape'))} voxels (z, y, x) {unit}"


def _seen(plan: Plan) -> Iterator[Row]:
    """The voxel size at which the network saw Y. A result may have another scale, and then notes the model's."""
    scale = plan.changed.get("scale", plan.keys.get("scale"))
    try:
        sides = [side / factor for side, factor in zip(plan.voxel_size or (), scale, strict=True)]
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return  # one of the two is unknown, or not three numbers
    yield "voxels as seen", f"{' x '.join(map(_number, sides))} µm (z, y, x), after resizing"


def _value(key: str, value: Any) -> str:
    if key in _SIZES and isinstance(value, list | tuple):
        text = " x ".join(map(_number, value))
    elif key == "intensity_percentiles" and isinstance(value, list | tuple):
        text = " to ".join(map(_number, value))
    elif isinstance(value, Mapping):
        options = ", ".join(f"{name} {_value(name, part)}" for name, part in value.items() if name != "_target_")
        text = f"{_class(value)} ({options})" if options and _class(value) else _class(value) or options
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(_value('', part) for part in value)}]"
    else:
        text = _number(value)
    return text + (_UNITS.get(key, "") if value is not None else "")


def _class(definition: Mapping[str, Any]) -> str:
    return str(definition.get("_target_", "")).rpartition(".")[2]


def _number(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _folded(line: str, margin: int, width: int) -> Iterable[str]:
    """A line of two columns, broken within the second."""
    indent = " " * margin
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) if len(line) > width else [line]


def printable(line: str) -> str:
    """A line without control characters, which a stranger's file may hold and a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


if __name__ == "__main__":
    start(main)
