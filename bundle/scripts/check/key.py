"""Keys: are they known, does anything refer to them, do references lead somewhere, do classes take their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.check.merge import Merged
from scripts.check.problem import Problem, closest, shown
from scripts.check.signature import arguments
from scripts.check.source import MARKS
from scripts.check.tree import SEPARATOR, has, is_component, parent, referred, walk

__all__ = ["RUN_IDS", "arguments_of_components", "lost_references", "unknown_keys", "without_effect"]

RUN_IDS = ("run", "training", "inference", "evaluating", "initialize", "finalize", "imports", "_meta_")
"""What MONAI's command looks up by itself."""
TRACKING = ("tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0")
"""What `--tracking` adds, or takes from the command line."""
# What is wanted by habit, also where every volume is named by itself.
_HARMLESS = ("dataset_dir", "bundle_root")
_NOTED = "settings"  # what a checkpoint keeps to be compared, which has no other effect


def unknown_keys(
    merged: Merged, base: Mapping[str, Any], other: Mapping[str, Any], more: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """Find keys that the base has not and that nothing refers to.

    Args:
        merged: the configuration.
        base: that it builds on, as shipped.
        other: the other base; keys of it are harmless in an overlay on both, not on the command line.
        more: ids that are looked up from outside.
    """
    used = referred(merged.config)
    known = [key for key, _ in walk(base)]
    for key, _ in walk(merged.config):
        plain = all(not is_component(above) and isinstance(above, dict) for above in _above(base, key))
        if not plain or has(base, key) or _reached(used, key, whole=False):
            continue
        top = SEPARATOR not in key
        if top and (key in (*RUN_IDS, *MARKS, *more) or (key in other and not merged.given(key))):
            continue
        if top or has(base, parent(key)):
            siblings = known if top else [name for name in known if parent(name) == parent(key)]
            last = "" if top else f" of {parent(key)}"
            expected = f"a known one{last}: nothing refers to it, so it has no effect"
            yield Problem(merged.place(key), key, "an unknown key", expected, closest(key, siblings))


def lost_references(merged: Merged) -> Iterator[Problem]:
    """Find references to ids that are not there."""
    known = [key for key, _ in walk(merged.config)]
    for name, key in referred(merged.config).items():
        if name and not has(merged.config, name):
            yield Problem(merged.place(key), key, f"@{name}", "an id that is there", closest(name, known))


def arguments_of_components(merged: Merged) -> Iterator[Problem]:
    """Find arguments that a class or function of the bundle does not take."""
    for key, value in walk(merged.config):
        taken = arguments(str(value["_target_"])) if is_component(value) else None
        if taken is None:
            continue
        for name in (name for name in map(str, value) if name not in taken and not name.startswith("_")):
            inner = f"{key}{SEPARATOR}{name}"
            advice = closest(name, taken) or f"It takes {', '.join(taken) or 'none'}."
            expected = f"an argument of {value['_target_']}"
            yield Problem(merged.place(inner), inner, shown(value[name]), expected, advice)


def without_effect(merged: Merged, base: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what the command line sets and the overlays have made idle: the base refers to it, nothing does now."""
    used, before = (referred({k: v for k, v in config.items() if k != _NOTED}) for config in (merged.config, base))
    for key in merged.overridden:
        if _reached(before, key) and not _reached(used, key) and key.split(SEPARATOR)[0] not in _HARMLESS:
            advice = "An overlay has put something else in the place of what did; leave one of the two out."
            yield Problem(merged.place(key), key, "a key without effect", "one that is still referred to", advice)


def _above(base: Mapping[str, Any], key: str) -> list[Any]:
    """What the base has at the levels over an id, from the top."""
    parts: list[Any] = [base]
    for name in key.split(SEPARATOR)[:-1]:
        there = parts[-1]
        parts.append(there.get(name) if isinstance(there, Mapping) else None)
    return parts


def _reached(used: Mapping[str, str], key: str, whole: bool = True) -> bool:
    """Whether something refers to an id, a part of it or, if `whole`, what it is a part of."""
    above = [key]
    while whole and (up := parent(above[-1])):
        above.append(up)
    return any(name in above or name.startswith(f"{key}{SEPARATOR}") for name in used)
