"""What values are expected: ranges by a table, types by the defaults of the bases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from scripts.check.value import UNKNOWN

# `scripts.transforms.MOST_SCALED`, which is not imported here, for it imports torch
MOST_SCALED = 20.0

__all__ = ["RULES", "Rule", "rule_of"]


class Rule(NamedTuple):
    """What a value should be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(low: float = -math.inf, high: float = math.inf, above: bool = False, below: bool = False) -> Rule:
    """A number from `low` to `high`; with `above` and `below` the ends do not count."""
    least = f"above {low:g}" if above else f"from {low:g}"
    most = f"below {high:g}" if below else f"to {high:g}"
    words = [] if low == -math.inf else [least]
    words += [] if high == math.inf else [most]
    text = " ".join(["a number", *words]) if high < math.inf or above or not words else f"a number, {low:g} or more"

    def holds(value: Any) -> bool:
        return _is_number(value) and (low < value or (not above and low == value)) and _not_over(value, high, below)

    return Rule(text, holds)


def whole(low: int | None = None) -> Rule:
    """A whole number, `low` or more."""
    text = "a whole number" if low is None else f"a whole number, {low} or more"
    return Rule(text, lambda value: _is_whole(value) and (low is None or value >= low))


def several(rule: Rule, count: int | None = None, axes: bool = True) -> Rule:
    """A list of values that follow a rule, `count` of them; three are those of z, y and x."""
    text = f"a list of {count or 'values'}{' (z, y, x)' if count == 3 and axes else ''}, each {rule.expected}"

    def holds(value: Any) -> bool:
        is_list = isinstance(value, (list, tuple)) and len(value) > 0
        return is_list and (count is None or len(value) == count) and all(rule.holds(item) for item in value)

    return Rule(text, holds)


def ascending(rule: Rule) -> Rule:
    """Two values that follow a rule, the lower one first."""
    pair = several(rule, 2)
    return Rule(f"two values, the lower one first, each {rule.expected}", lambda v: pair.holds(v) and v[0] < v[1])


def either(*rules: Rule) -> Rule:
    """What follows one of the rules."""
    return Rule(" or ".join(rule.expected for rule in rules), lambda value: any(rule.holds(value) for rule in rules))


def one_of(*values: Any) -> Rule:
    """One of these values."""
    text = f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
    return Rule(text, lambda value: not isinstance(value, bool) and value in values)


def _not_over(value: float, high: float, below: bool) -> bool:
    return value < high or (not below and value == high)


NULL = Rule("null", lambda value: value is None)
TEXT = Rule("a text", lambda value: isinstance(value, str) and value != "")
FLAG = Rule(
    "true or false", lambda v: isinstance(v, (bool, int, str)) and str(v).lower() in ("true", "false", "1", "0")
)
FILES = Rule("a file, a pattern or a list of these", either(TEXT, several(TEXT)).holds)
POSITIVE = number(0, above=True)
SHARE = number(0, 1)
SIGNED_SHARE = number(-1, 1)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("image", "image_x", "image_y"), FILES),
    "label_x": Rule("a file, a pattern or a list of these; oracle.yaml, which trains on Y, wants label_y", FILES.holds),
    **dict.fromkeys(("label", "label_y"), either(FILES, NULL)),
    **dict.fromkeys(("start_from", "best_checkpoint"), either(TEXT, NULL)),
    "resume": either(FLAG, one_of("auto")),
    **dict.fromkeys(("scale", "scale_x", "scale_y"), several(number(0, MOST_SCALED, above=True), 3)),
    "spacing": several(POSITIVE, 3),
    **dict.fromkeys(("patch_size", "sample_size", "block", "decoding_block"), several(whole(1), 3)),
    "decoding_halo": several(whole(0), 3),
    "window": several(whole(), 3),
    "window_padding": either(several(whole(0), 3), whole(0)),
    "overlap": either(number(0, 1, below=True), several(number(0, 1, below=True), 3)),
    "flips": one_of(1, 2, 4, 8, 16),
    "blending": one_of("gaussian", "constant", "published"),
    **dict.fromkeys(("batch_size", "max_iterations", "epoch_length", "workers", "shards"), whole(1)),
    **dict.fromkeys(("checkpoint_interval", "validation_interval", "val_interval", "panel_interval"), whole(1)),
    **dict.fromkeys(("num_workers", "seed", "shard", "warm_up_iterations", "learning_rate_warm_up"), whole(0)),
    **dict.fromkeys(("pool_size", "min_foreground", "contour_dilation"), whole(0)),
    **dict.fromkeys((f"intensity_percentiles{end}" for end in ("", "_x", "_y")), ascending(number(0, 100))),
    **dict.fromkeys((f"intensity_gamma{end}" for end in ("", "_x", "_y")), POSITIVE),
    "intensity_range": either(ascending(number()), NULL),
    "holdout_fraction": number(0, 0.5),
    "foreground_share": either(ascending(SHARE), NULL),
    "augmentation_scale": POSITIVE,
    **dict.fromkeys(("augmentation::*", "density::prob", "density::haze"), SHARE),
    "density::share": ascending(SHARE),
    **dict.fromkeys(("loss_weights::*", "translation_noise", "discriminator_learning_rate"), number(0)),
    "correlation_margin": SIGNED_SHARE,
    **dict.fromkeys(("learning_rate", "warm_up_learning_rate"), POSITIVE),
    "betas": several(number(0, 1, below=True), 2),
    "max_gradient_norm": either(POSITIVE, NULL),
    "ema_momentum": number(0, 1, above=True),
    "contour_axes": several(one_of(0, 1, 2)),
    "distance_levels": either(whole(2), NULL),
    **dict.fromkeys(("decoder::*_foreground", "decoder::*_contour", "decoder::*_affinity"), SHARE),
    **dict.fromkeys(("seed_distance", "decoder::*_distance"), SIGNED_SHARE),
    "decoder::min_*_size": whole(0),
    "empty_below": either(SIGNED_SHARE, NULL),
    "scheduler": either(TEXT, NULL),
    "network_def::filters": several(whole(1)),
    **dict.fromkeys(("network_def::out_channels", "network_def::in_channels"), whole(1)),
    "network_def::isotropic_from": whole(0),
    "network_def::blocks_isotropic_from": either(whole(0), NULL),
    **dict.fromkeys((f"network_def::{name}" for name in ("squeeze_excitation", "non_local")), FLAG),
    "network_def::checkpoint_activations": FLAG,
    **dict.fromkeys(("image_discriminator_def::filters", "map_discriminator_def::filters"), several(whole(1))),
}
"""By id; `*` stands for any name. Ids of components count as long as the component is that of the base."""


def rule_of(key: str, default: Any = UNKNOWN) -> Rule | None:
    """Return what is expected of an id: the table's rule, or by the type of its default; None where neither tells."""
    if key in RULES:
        return RULES[key]
    for pattern, rule in RULES.items():
        if "*" in pattern and fnmatchcase(key, pattern):
            return rule
    return None if default is UNKNOWN else _of_type(default)


def _of_type(default: Any) -> Rule | None:
    match default:
        case bool():
            return FLAG
        case int():
            return whole()
        case float():
            return number()
        case str():
            return TEXT
        case list():
            return Rule("a list", lambda value: isinstance(value, (list, tuple)))
        case Mapping():
            return Rule("keys and values", lambda value: isinstance(value, Mapping))
        case _:
            return None
