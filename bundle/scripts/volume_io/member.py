"""The files that a volume names: one that is missing, or lies elsewhere, is reported before anything is read."""

from __future__ import annotations

import os
from pathlib import Path

from scripts.command.flag import flag
from scripts.errors import InputError
from scripts.volume_io.paths import is_zarr

__all__ = ["FOREIGN", "checked_member", "own_folders", "store_of"]

FOREIGN = "CYSGAN_FOREIGN_FILES"
"""Environment variable: with 1, parts of a volume are also read from outside its own folder.

It is read here alone, and no configuration or request can set it.
"""


def checked_member(volume: Path, member: Path, role: str) -> Path:
    """Return a file that a volume names, if it may be read and is there.

    The volume's own folder is the one that holds it (of a Zarr store: the store itself). Links are followed: a volume
    may be a link, and then the folder that it leads to is its own, too. A part that is a link out of the folder lies
    outside.

    Args:
        volume: the file, or the Zarr store, that the user named.
        member: the part.
        role: what the part is, for the message, such as "virtual dataset raw: source".

    Raises:
        InputError: the part lies outside and `CYSGAN_FOREIGN_FILES` is not 1, or it is missing.
    """
    real = Path(os.path.realpath(member))
    folders = own_folders(volume)
    if not any(real.is_relative_to(folder) for folder in folders) and not _foreign_allowed():
        leads = "" if real == Path(os.path.abspath(member)) else f" (which leads to {real})"
        raise InputError(
            f"{volume}: {role} {member}{leads} lies outside {folders[0]}, the volume's own folder. Copy it there, or "
            f"set the environment variable {FOREIGN}=1 if you trust this file (docs/SECURITY.md)."
        )
    if not real.exists():
        raise InputError(f"{volume}: {role} {member} is missing; without it a part of the volume would be read as 0.")
    return member


def store_of(path: Path) -> Path:
    """Return the Zarr store that a path lies in: the outermost folder that is named as one."""
    return next((folder for folder in [*reversed(path.parents), path] if is_zarr(Path(folder.name))), path)


def own_folders(volume: Path) -> list[Path]:
    """Return the folders in which parts of a volume may lie."""
    if volume.is_dir():
        return [Path(os.path.realpath(volume))]
    named, real = Path(os.path.realpath(volume.absolute().parent)), Path(os.path.realpath(volume)).parent
    return list(dict.fromkeys([named, real]))


def _foreign_allowed() -> bool:
    return flag(os.environ.get(FOREIGN) or "false", FOREIGN)
