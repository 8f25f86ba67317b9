"""The keys that clients of MONAI Label send, and the types of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.label_server.rule import NAME, Judge, flag, listed, matching, number, one_of, text, whole

__all__ = ["COUNT", "PLAIN", "SESSION", "SWITCH", "TAG", "batch_keys", "infer_keys", "train_keys"]

PLAIN = matching(NAME, "a name without path")
PLAIN_OR_NONE = matching(f"(?:{NAME})?", "a name without path")
TAG = matching(r"\w[\w-]{0,63}", "a tag such as final")
SWITCH = matching("(?i)true|false|yes|no|on|off|1|0", "true or false")
COUNT = matching(r"\d{1,9}", "a whole number")
SESSION = matching(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "the id of a session")
DEVICE = matching(r"[A-Za-z][\w .:()+-]*", "a device such as cpu or cuda:0")
GPUS = matching(r"all|\d{1,3}(?:,\d{1,3})*", "all, or numbers with commas between")
WEIGHTS = matching(r"\w[\w.-]*\.pt", "the name of a file in models/, such as model.pt")
LOGGING = one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "debug", "info", "warning", "error", "critical")


def infer_keys(options: Mapping[str, Any]) -> dict[str, Judge]:
    """Return the keys of inference: what 3D Slicer sends, and the bundle's options, of the type of their values."""
    return {
        **{name: _like(value) for name, value in options.items()},
        "device": DEVICE,
        "model_filename": _either(WEIGHTS, listed(WEIGHTS, 10)),
        "logging": LOGGING,
        "save_label": flag,
        "label_tag": TAG,
        "client_id": text,
        "result_extension": one_of(None, ".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".tif"),
        "result_dtype": one_of(None, "uint8", "uint16", "uint32", "int16", "int32"),
        "result_compress": flag,
    }


def batch_keys() -> dict[str, Judge]:
    """Return the further keys of inference for many images."""
    limits = {"max_workers": whole(0, 256), "max_batch_size": whole(0, 10**6)}
    return {"multi_gpu": flag, "gpus": GPUS, **limits}


def train_keys(model: str) -> dict[str, Judge]:
    """Return the keys of training; MLflow, which could write anywhere, is off."""
    return {
        "model": one_of(model),
        "device": _either(DEVICE, listed(DEVICE, 10)),
        "pretrained": flag,
        "max_epochs": whole(1, 10**6),
        "val_split": number(-1, 0.99),
        "multi_gpu": flag,
        "force_multi_gpu": flag,
        "gpus": GPUS,
        "tracking": one_of(None, "None", "none", ""),
        "tracking_uri": one_of(None, ""),
        "tracking_experiment_name": PLAIN_OR_NONE,
        "tracking_run_name": PLAIN_OR_NONE,
        "run_id": one_of("", "run", "training"),
        "model_filename": _either(WEIGHTS, listed(WEIGHTS, 10)),
        "client_id": text,
    }


def _like(value: Any) -> Judge:
    """The judge of values of the same type as a default."""
    if isinstance(value, bool):
        return lambda given, name: (SWITCH if isinstance(given, str) else flag)(given, name)
    if isinstance(value, int):
        return whole(-(2**31), 2**31)
    if isinstance(value, float):
        return number(-1e12, 1e12)
    return one_of(*value) if isinstance(value, list) else PLAIN


def _either(one: Judge, other: Judge) -> Judge:
    return lambda value, name: (other if isinstance(value, list) else one)(value, name)
