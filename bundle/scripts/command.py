"""MONAI's bundle commands, started as a user would type them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

from scripts.errors import InputError

__all__ = ["BUNDLE", "as_read", "run_bundle"]

BUNDLE = Path(__file__).resolve().parents[1]
"""The folder of this bundle."""


def run_bundle(run_id: str, configs: Sequence[str | Path], overrides: Mapping[str, Any]) -> None:
    """Run a command of this bundle, its progress bars on this terminal.

    Args:
        run_id: training, evaluating, run, ...
        configs: files, or names in `configs/` without extension; the base first.
        overrides: keys and values.

    Raises:
        InputError: it failed; its own message is above.
    """
    files = [str(BUNDLE / "configs" / f"{config}.yaml") if _is_name(config) else str(config) for config in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", run_id]
    command += ["--config_file", str(files), "--bundle_root", str(BUNDLE)]
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise InputError(f"the command failed, its message is above: {' '.join(command)}")


def as_read(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's command line makes of overrides that `run_bundle` hands it: the text "[8, 16]" is a list."""
    return {key: DefaultParseValue(str(value)) for key, value in overrides.items()}


def _is_name(config: str | Path) -> bool:
    return isinstance(config, str) and (BUNDLE / "configs" / f"{config}.yaml").is_file()
