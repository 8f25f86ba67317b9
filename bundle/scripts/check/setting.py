"""What must be as it was when a training is resumed, derived from the configuration itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.check.source import shipped
from scripts.check.value import UNKNOWN, Values
from scripts.checkpoint import file_states
from scripts.command.bundle import parser_at_work

__all__ = ["MAY_CHANGE", "compared_keys", "run_settings"]

MAY_CHANGE = {
    # where a training starts from, how long it is, with what it runs, how often it writes
    *("start_from", "resume", "max_iterations", "iterations", "num_workers", "compile"),
    *("checkpoint_interval", "best_checkpoint", "validation_interval", "val_interval", "panel_interval"),
    # decoding and validation
    *("label_y", "seed_distance", "window", "overlap", "window_padding"),
    # the checkpoint compares the epoch's length itself, and the percentiles of X and Y are keys of their own
    *("epoch_length", "intensity_percentiles"),
}
"""Keys of train.yaml with a number, or none, that may be others when a training is resumed."""


def compared_keys() -> list[str]:
    """Return the keys of train.yaml that make the experiment: all that are numbers, or made of numbers, but MAY_CHANGE.

    The rest names files and devices, or is wiring: networks are compared by their shapes, maps by their names.
    """
    content = shipped("train").content
    values = Values(content)
    return [key for key in content if key not in MAY_CHANGE and _is_number(values[key])]


def run_settings(
    random_transforms: Any, pair_transforms: Sequence[Any], patches: Any, source: Sequence[Any], target: Sequence[Any]
) -> dict[str, Any]:
    """Return the settings of the training whose configuration is being turned into objects.

    Args:
        random_transforms: a Compose or None; compared by the classes of its transforms.
        pair_transforms: transforms, compared by their classes.
        patches: `scripts.dataset.PatchPairs`; the shapes of its volumes are compared.
        source: items of X, compared by their files: those may have moved, and another time of the last change is a
            warning.
        target: items of Y, in the same way.
    """
    parser = parser_at_work()
    values = {} if parser is None else {key: parser.get_parsed_content(key) for key in compared_keys() if key in parser}
    transforms = [*getattr(random_transforms, "transforms", ()), *pair_transforms]
    return {
        **values,
        "transforms": [type(each).__name__ for each in transforms],
        "volumes": patches.shapes,
        "files": file_states(x=source, y=target),
    }


def _is_number(value: Any) -> bool:
    """Whether a value is a number, a truth value or nothing, or a container of these that is not empty."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_number, value))
    return value is None or (value is not UNKNOWN and isinstance(value, (bool, int, float)))
