"""The one table of ranges: what the values of a configuration may be, as JSON schemas.

A schema's `description` is what a message says after "expected". Types that a default or a constructor's annotation
states are not repeated here: see `scripts.check.schema`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from scripts.volume_io.unit import MOST_SCALED

__all__ = [
    *("AMOUNTS", "FLAG", "ITEMS", "MOST_SCALED", "OPTIONS", "RANGES", "Schema"),
    *("either", "number", "range_of", "text", "whole"),
]

Schema = dict[str, Any]


def number(low: float | None = None, high: float | None = None, above: bool = False, below: bool = False) -> Schema:
    """A finite number from `low` to `high`; with `above` and `below` the ends do not count."""
    ends = {"exclusiveMinimum" if above else "minimum": low, "exclusiveMaximum" if below else "maximum": high}
    words = "a number"
    if low is not None:
        words += f" above {low:g}" if above else f", {low:g} or more" if high is None else f" from {low:g}"
    if high is not None:
        words += f" below {high:g}" if below else f" to {high:g}"
    return {"type": "number", "description": words, **{name: end for name, end in ends.items() if end is not None}}


def whole(low: int | None = None) -> Schema:
    """A whole number, `low` or more."""
    words = "a whole number" if low is None else f"a whole number, {low} or more"
    return {"type": "integer", "description": words, **({} if low is None else {"minimum": low})}


def several(item: Schema, count: int | None = None) -> Schema:
    """A list of values, `count` of them; three are for z, y and x."""
    words = f"a list of {count or 'values'}{' (z, y, x)' if count == 3 else ''}, each {item['description']}"
    most = {} if count is None else {"maxItems": count}
    return {"type": "array", "items": item, "minItems": count or 1, "description": words, **most}


def ascending(item: Schema) -> Schema:
    """Two values, the lower one first."""
    words = f"two values, the lower one first, each {item['description']}"
    return {**several(item, 2), "ascending": True, "description": words}


def either(*schemas: Schema) -> Schema:
    """What follows one of the schemas."""
    return {"anyOf": list(schemas), "description": " or ".join(schema["description"] for schema in schemas)}


def one_of(*values: Any) -> Schema:
    """One of these values."""
    words = f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
    return {"enum": list(values), "description": words}


def text(least: int = 1) -> Schema:
    """A text of at least so many letters."""
    return {"type": "string", "minLength": least, "description": "a text"}


NULL: Schema = {"type": "null", "description": "null"}
# MONAI's command line reads `--amp true` as a text.
FLAG: Schema = {"enum": [True, False, 0, 1, *"01"], "description": "true or false"}
FLAG = {"anyOf": [FLAG, {"type": "string", "pattern": "^(?i:true|false)$"}], "description": "true or false"}
FILES = {**either(text(), several(text())), "description": "a file, a pattern or a list of these"}
SOURCE_LABELS = {**FILES, "description": f"{FILES['description']}; oracle.yaml, which trains on Y, wants label_y"}
_ITEM = {"image": {"type": "string"}, "label": {"type": ["string", "null"]}}
ITEMS: Schema = {
    "type": "array",
    "items": {"type": "object", "required": ["image"], "properties": _ITEM},
    "description": "a list of dictionaries, [{'image': FILE}] or with 'label': FILE",
}
"""What a dataset of MONAI reads: dictionaries with the names of files."""
POSITIVE = number(0, above=True)
SHARE = number(0, 1)
SIGNED_SHARE = number(-1, 1)
BELOW_ONE = number(0, 1, below=True)


def _alike(schema: Schema, *keys: str) -> dict[str, Schema]:
    return dict.fromkeys(keys, schema)


RANGES: dict[str, Schema] = {
    # -- files. A label of X is needed for every training; labels of Y only score, so there may be none.
    **_alike(FILES, "image", "image_x", "image_y"),
    "label_x": SOURCE_LABELS,
    **_alike(either(FILES, NULL), "label", "label_y"),
    **_alike(ITEMS, "dataset::data", "train::dataset::data", "validate::dataset::data"),
    **_alike(either(text(), NULL), "start_from", "best_checkpoint", "scheduler"),
    "resume": either(FLAG, one_of("auto")),
    "keep": one_of("last", "better"),
    # -- sizes in voxels. A factor of 0 leaves no voxel, and one above 20 is a mistaken unit: volumes grow 8000 times.
    **_alike(several(number(0, MOST_SCALED, above=True), 3), "scale", "scale_x", "scale_y"),
    "spacing": several(POSITIVE, 3),
    "training_voxel_size": either(several(POSITIVE, 3), NULL),
    **_alike(several(whole(1), 3), "patch_size", "sample_size", "block", "decoding_block"),
    "decoding_halo": several(whole(0), 3),
    # MONAI takes 0 and less of a window for the whole side of the volume.
    "window": several(whole(), 3),
    "window_padding": either(several(whole(0), 3), whole(0)),
    # At an overlap of 1 the next window would begin where this one does, for ever.
    "overlap": either(BELOW_ONE, several(BELOW_ONE, 3)),
    # Groups of reflections: each axis doubles them, and a quarter turn in the plane does so once more.
    "flips": one_of(1, 2, 4, 8, 16),
    "blending": one_of("gaussian", "constant", "published"),
    # -- counts. An interval or a batch of 0 would divide by 0 or never end.
    **_alike(
        whole(1), "rounds", "round_iterations", "batch_size", "max_iterations", "epoch_length", "workers", "shards"
    ),
    **_alike(whole(1), "checkpoint_interval", "validation_interval", "val_interval", "panel_interval"),
    **_alike(whole(0), "num_workers", "seed", "shard", "warm_up_iterations", "learning_rate_warm_up"),
    **_alike(whole(0), "pool_size", "min_foreground", "contour_dilation"),
    # -- grey values. Equal ends would divide by 0; an exponent of 0 would make every voxel 1.
    **_alike(ascending(number(0, 100)), *(f"intensity_percentiles{end}" for end in ("", "_x", "_y"))),
    **_alike(POSITIVE, *(f"intensity_gamma{end}" for end in ("", "_x", "_y"))),
    "intensity_range": either(ascending(number()), NULL),
    # Maps are in [-1, 1] as the network sees grey values; so is the threshold of emptiness.
    "empty_below": either(SIGNED_SHARE, NULL),
    # -- shares and probabilities. More than half of X held out would leave less to train on than to validate with.
    "holdout_fraction": number(0, 0.5),
    "least_kept": number(0, 1),
    **_alike(either(ascending(SHARE), NULL), "foreground_share", "share_y"),
    **_alike(SHARE, "augmentation::*", "density::prob", "density::haze", "discriminator_augmentation"),
    "density::share": ascending(SHARE),
    "augmentation_scale": POSITIVE,
    # -- learning. A weight below 0 would reward what the term forbids. Discriminators may rest, generators may not.
    **_alike(number(0), "loss_weights::*", "translation_noise", "discriminator_learning_rate"),
    **_alike(number(0), "optimizers::discriminator_*::learning_rate", "optimizers::*::weight_decay"),
    **_alike(POSITIVE, "learning_rate", "warm_up_learning_rate", "optimizers::*::learning_rate"),
    "correlation_margin": SIGNED_SHARE,
    # A decay of 1 would never forget, so that Adam divides by 0; an average that takes 0 of the new never moves.
    **_alike(several(BELOW_ONE, 2), "betas", "optimizers::*::betas"),
    "ema_momentum": number(0, 1, above=True),
    "max_gradient_norm": either(POSITIVE, NULL),
    # -- maps and decoding. Foreground, contour and affinity are sigmoids in [0, 1], the distance a tanh in [-1, 1].
    "contour_axes": several(one_of(0, 1, 2)),
    "distance_levels": either(whole(2), NULL),
    **_alike(SHARE, *(f"decoder::*_{name}" for name in ("foreground", "contour", "affinity"))),
    **_alike(SIGNED_SHARE, "seed_distance", "decoder::*_distance"),
    "decoder::min_*_size": whole(0),
    # `SMALL_MODES`, `HEIGHTS` and `TIES` of scripts.watershed, which takes a second to import; a test compares them.
    "decoder::small_mode": one_of("none", "background", "background_2d", "neighbor", "neighbor_2d"),
    "decoder::height": one_of("foreground", "distance"),
    "decoder::ties": one_of("raster", "heap"),
    "decoder::scale_factors": several(POSITIVE, 3),
    # -- networks. A stage without a channel has no weights.
    **_alike(several(whole(1)), *(f"{name}_def::filters" for name in ("network", "image_discriminator"))),
    "map_discriminator_def::filters": several(whole(1)),
    **_alike(whole(1), "network_def::out_channels", "network_def::in_channels"),
    "network_def::isotropic_from": whole(0),
    "network_def::blocks_isotropic_from": either(whole(0), NULL),
}
"""By id; `*` stands for any name. Ids within a component count where its class is one of the bundle's."""

AMOUNTS = "random_transforms::amounts"
"""Options of single transforms, by the names of `augmentation`."""
OPTIONS: dict[str, str] = {
    **{
        f"optimizers::{name}": "scripts.trainer.optimizer.adamw"
        for name in ("warm_up", *(f"generator_{ends}" for ends in ("yx", "xy")), *(f"discriminator_{d}" for d in "xys"))
    },
    f"{AMOUNTS}::misalignment": "scripts.transforms.RandMisalignment",
    f"{AMOUNTS}::missing_section": "scripts.transforms.RandMissingSection",
    f"{AMOUNTS}::elastic": "scripts.transforms.RandElasticInPlane",
    f"{AMOUNTS}::rescale": "scripts.transforms.RandRescaleInPlane",
    f"{AMOUNTS}::grey_value": "scripts.transforms.RandGreyValue",
    f"{AMOUNTS}::cut_noise": "scripts.transforms.RandCutNoise",
    f"{AMOUNTS}::cut_blur": "scripts.transforms.RandCutBlur",
    f"{AMOUNTS}::motion_blur": "scripts.transforms.RandMotionBlur",
    f"{AMOUNTS}::missing_parts": "scripts.transforms.RandMissingParts",
}
"""Whose arguments the keys of an id are, where that is no definition with `_target_`."""


def range_of(key: str) -> Schema | None:
    """Return the schema of an id, None where the table has none."""
    return RANGES.get(key) or next(
        (one for name, one in RANGES.items() if "*" in name and fnmatchcase(key, name)), None
    )
