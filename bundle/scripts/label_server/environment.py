"""Whether this environment has the MONAI Label that the bundle was tried with."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path

from scripts.errors import InputError

__all__ = ["SERIES", "check_environment", "sample_app"]

SERIES = "0.8"
"""The releases of MONAI Label that are served with: 0.8.5 was tried, and later ones of its series are taken."""
_TRIED = (0, 8, 5)
_MAIN = "sample-apps/monaibundle/main.py"


def check_environment() -> str:
    """Return the version of MONAI Label, once it is known to be of the right series and complete.

    Raises:
        InputError: it is not installed, is another version, or lacks a torchvision that fits torch.
    """
    try:
        version = metadata.version("monailabel")
    except metadata.PackageNotFoundError:
        advice = "Install 0.8.5 in its own environment, as docs/guides/MONAI_LABEL.md says, and start it there."
        raise InputError(f"MONAI Label is not installed for {sys.executable}. {advice}") from None
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers[:2] != _TRIED[:2] or numbers < _TRIED:
        tried = ".".join(map(str, _TRIED))
        raise InputError(
            f"MONAI Label {version} is installed for {sys.executable}; expected {tried} or a later {SERIES}.x, "
            f"whose way of reading a bundle is known. Install it: pip install --no-deps monailabel=={tried}"
        )
    try:
        importlib.import_module("torchvision.utils")
    except Exception as error:
        raise InputError(
            f"torchvision, which MONAI Label imports, cannot be imported for {sys.executable} ({error}). "
            "Install the torchvision that was built for the torch that is there."
        ) from error
    return version


def sample_app() -> Path:
    """Return the folder of the app `monaibundle` that MONAI Label brings.

    Raises:
        InputError: it is not where the package says.
    """
    files = metadata.files("monailabel") or []
    paths = [Path(str(file.locate())).resolve() for file in files if file.as_posix().endswith(_MAIN)]
    if not paths or not paths[0].is_file():
        raise InputError(f"MONAI Label is installed without {_MAIN}. Install it again, by pip and from a wheel.")
    return paths[0].parent
