"""The files that a TIFF names: an OME-TIFF or NDTiff may be made of many."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import tifffile
from scripts.errors import InputError
from scripts.volume_io.absent import Absent
from scripts.volume_io.member import checked_member
from scripts.volume_io.paths import decoding

__all__ = ["absent_parts", "check_named", "check_opened", "files"]


def files(path: Path) -> list[Path]:
    """Return the files that the planes of a TIFF are in, its own first.

    Raises:
        InputError: one is missing or lies outside the volume's folder, or the file is damaged.
    """
    with decoding(path, "TIFF"), tifffile.TiffFile(path) as file:
        return list(dict.fromkeys([path, *check_named(file, path), *check_opened(file, path)]))


def check_named(file: tifffile.TiffFile, path: Path) -> list[Path]:
    """Return the files that the metadata name, before tifffile opens any: it fills what is missing with zeros.

    Raises:
        InputError: one is missing or lies outside the volume's folder.
    """
    folder = path.absolute().parent
    _refuse_part(file, path, folder)
    names = dict.fromkeys(name for name in _names(file, folder) if name != path.name)
    return [checked_member(path, folder / name, "the file of some of its planes,") for name in names]


def check_opened(file: tifffile.TiffFile, path: Path) -> list[Path]:
    """Return the files that tifffile found planes in.

    Raises:
        InputError: one lies outside the volume's folder.
    """
    pages = (page for series in file.series[:1] for page in series.pages if page is not None)
    names = dict.fromkeys(str(page.parent.filehandle.path) for page in pages)
    own = str(file.filehandle.path)
    return [checked_member(path, Path(name), "the file of some of its planes,") for name in names if name != own]


def absent_parts(series: tifffile.TiffPageSeries) -> Absent | None:
    """Count the strips or tiles of an image that were never written: their place in the file is 0.

    GDAL and others leave out what holds nothing; an OME-TIFF may name fewer planes than it says it has.
    """
    if series.dataoffset:  # one after the other
        return None
    frame = series.keyframe
    parts = len(frame.databytecounts)
    lacking, total = 0, parts * len(series.pages)
    for page in series.pages:
        lacking += parts if page is None else sum(not count for count in page.databytecounts)
    if not lacking:
        return None
    return Absent(
        lacking,
        total,
        "planes" if parts == 1 else "tiles" if frame.is_tiled else "strips",
        "are not there",
        frame.nodata,
    )


def _refuse_part(file: tifffile.TiffFile, path: Path, folder: Path) -> None:
    """Refuse one of the files that another one, a companion, makes an image of: by itself it is a part of that."""
    found = re.search(r'<(?:\w+:)?BinaryOnly\b[^>]*MetadataFile="([^"]+)"', file.ome_metadata or "")
    if found is None:
        return
    companion = checked_member(path, folder / found[1], "the file of its metadata,")
    with suppress(ElementTree.ParseError, UnicodeDecodeError):
        nodes = ElementTree.fromstring(companion.read_text(encoding="utf-8")).iter()
        if {node.get("FileName", path.name) for node in nodes if node.tag.endswith("UUID")} <= {path.name}:
            return
    raise InputError(f"{path}: one of the files that {found[1]} makes an image of; save all as one TIFF.")


def _names(file: tifffile.TiffFile, folder: Path) -> Iterator[str]:
    if file.is_ndtiff and (folder / "NDTiff.index").is_file():
        yield from (os.fspath(entry[1]) for entry in tifffile.read_ndtiff_index(folder / "NDTiff.index"))
    elif file.ome_metadata:
        root = ElementTree.fromstring(file.ome_metadata)
        for node in root.iter():
            is_own = node.text is not None and node.text == root.get("UUID")  # though it may have another name now
            if node.tag.rpartition("}")[2] == "UUID" and node.get("FileName") and not is_own:
                yield str(node.get("FileName"))
