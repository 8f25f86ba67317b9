"""Why a file cannot be read: what it holds, what its program was doing, and only then that it is damaged."""

from __future__ import annotations

import errno
import gzip
import re
import zlib
from contextlib import suppress
from pathlib import Path

__all__ = ["FILTERS", "PLUGIN", "explain", "explain_tiff", "held_instead"]

# HDF5's registered filters, https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md
FILTERS = {
    1: "gzip",
    4: "szip",
    305: "LZO",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32016: "B3D",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
    32030: "FFMPEG",
}
PLUGIN = "Install hdf5plugin (pip install hdf5plugin), or write it without: h5repack -f NONE old.h5 new.h5"
AGAIN = "Copy it again."

# how a file begins -> the format that is read under another name
FORMATS = {
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x5c\x01\0\0": "NIfTI",
    b"\0\0\x01\x5c": "NIfTI",
    b"\x1c\x02\0\0": "NIfTI",
    b"\0\0\x02\x1c": "NIfTI",
}
ENDINGS = {"HDF5": ".h5", "TIFF": ".tif", "NIfTI": ".nii"}
GZIP = b"\x1f\x8b"
# how a file begins -> what it is, and what to do
OTHERS = {
    GZIP: "packed by gzip. Unpack it (gunzip); a NIfTI file that stays packed is to end in .nii.gz.",
    b"PK\x03\x04": "a zip archive. Unpack it.",
    b"\x28\xb5\x2f\xfd": "packed by zstd. Unpack it.",
    b"BZh": "packed by bzip2. Unpack it.",
    b"\xfd7zXZ": "packed by xz. Unpack it.",
    b"7z\xbc\xaf": "packed by 7-Zip. Unpack it.",
    b"Salted__": "encrypted. Decrypt it.",
    b"MATLAB 5.0": "a MAT-file of MATLAB before 7.3. Save it as -v7.3 (which is HDF5), or as TIFF.",
    b"\x89PNG": "a PNG picture. Save the volume as one TIFF stack.",
    b"\xff\xd8\xff": "a JPEG picture. Save the volume as one TIFF stack.",
    b"\x93NUMPY": "an array of numpy. Save it as HDF5 or TIFF.",
    b"CDF\x01": "netCDF 3. Save it as netCDF 4, which is HDF5.",
    b"CDF\x02": "netCDF 3. Save it as netCDF 4, which is HDF5.",
    b"\x0e\x03\x13\x01": "HDF4. Convert it to HDF5 (h4toh5).",
    b"\xd0\xcf\x11\xe0": "an OLE file, such as Zeiss ZVI or Olympus OIB. Export it as OME-TIFF.",
    b"ZISRAWFILE": "a Zeiss CZI file. Export it as OME-TIFF.",
    b"NRRD": "NRRD. Save the volume as NIfTI or TIFF.",
    b"%PDF": "a PDF. Save the volume as TIFF.",
}
TEXTS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself. Fetch the file: git lfs pull.",
    b"<!doctype html": "a web page (HTML), such as a server's error message. Download the file again.",
    b"<html": "a web page (HTML), such as a server's error message. Download the file again.",
    b"<?xml": "an XML text, such as a server's error message. Download the file again.",
    b"<error": "an XML text, such as a server's error message. Download the file again.",
}
# what the file system says, not the decoder
OF_SYSTEM = {errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EMFILE}
OF_SYSTEM |= {errno.ENFILE, errno.ENXIO, errno.ENODEV}

# what decoders say -> the cause and what to do
SAID = {
    "unable to lock file": "another program has it open for writing. Close it there, or wait until it is written",
    "already open for write|consistency flags": "it was not closed by the program that wrote it, or is being written. "
    "Close it there; of a program that has ended, clear the mark: h5clear -s FILE",
    "bad superblock version|unknown superblock|bad object header version|unknown .*version number": "it was written by "
    "a newer HDF5 than h5py has, or is damaged. Update h5py, or convert it: h5repack --high=1 old.h5 new.h5",
    "can't open directory|required filter|filter .*not (?:registered|available)": f"a filter is missing. {PLUGIN}",
    "requires the 'imagecodecs'": "its compression needs another package. Install it: pip install imagecodecs",
    r"(?:COMPRESSION|PREDICTOR)\W+\w+.*not supported": "its compression is not supported. Save it with zlib or none",
    "axes do not match shape": "the axes in its description are not one letter for each axis. Write it again with axes "
    "such as ZYX",
    "OME series raised|not well-formed|no element found|undefined entity|mismatched tag": "its description is no valid "
    "OME-XML. Export it again, or save it as a plain TIFF stack",
    "storage transformers|disallowed extra fields": "it uses an extension of Zarr that is not supported. Write the "
    "array again without it",
    "Permission denied": "there is no permission to read it. See that you may read the file",
}
CODEC = re.compile(r"(?:codec not available|Unknown codec|implementation for codec)\W+([\w.]+)", re.IGNORECASE)


def explain(path: Path, kind: str, error: BaseException) -> str:
    """Return one line: the file, why it cannot be read, and what to do.

    Args:
        path: the file, or a Zarr store; with "::dataset" perhaps.
        kind: "TIFF", "HDF5", "NIfTI", "Zarr" or "JSON".
        error: what the decoder raised.
    """
    text = " ".join(str(error).split()).rstrip(".")
    cannot = f"{path} cannot be read as {kind}"
    file = path if path.exists() else Path(str(path).rpartition("::")[0] or path)
    if (said := _by_system(error, text)) is not None:
        return f"{cannot}: {said}."
    found = _content(file, kind) if file.is_file() else _of_store(text)
    if found is not None:
        return f"{cannot}: {found}"
    if (known := _by_words(text)) is not None:
        return f"{cannot}: {known} ({text})."
    return f"{cannot}, it is damaged or cut short: {text or type(error).__name__}. {AGAIN}"


def explain_tiff(path: Path, text: str) -> str:
    """Return what a complaint of tifffile means, in one line."""
    known = _by_words(text)
    return f"{path}: {known} ({text})." if known else f"{path} is damaged or cut short: {text}. {AGAIN}"


def _content(path: Path, kind: str) -> str | None:
    """Return what a file holds where its first bytes say that it is not of this kind, with what to do."""
    is_packed = kind == "NIfTI" and path.name.lower().endswith(".gz")
    head = _head(path, is_packed)
    if is_packed and head.startswith(GZIP):  # what was packed cannot be read
        return None
    if not head:
        return f"it is empty (0 bytes). {AGAIN}"
    if not head.strip(b"\0"):
        return f"it begins with zeros only, as an interrupted copy leaves it. {AGAIN}"
    found = next((name for start, name in FORMATS.items() if head.startswith(start)), None)
    if found is not None and found == kind and is_packed:
        with path.open("rb") as file:
            is_packed = file.read(2) != GZIP
        return "it is not packed, though its name ends in .gz. Name it .nii." if is_packed else None
    if found is not None:
        return None if found == kind else f"it is {found}. Give it a name that ends in {ENDINGS[found]}."
    if (other := next((what for start, what in OTHERS.items() if head.startswith(start)), None)) is not None:
        return f"it is {other}"
    text = None if kind == "JSON" and not head.startswith(b"version") else _text(head)
    return text and f"it is {text}"


def _head(path: Path, is_packed: bool) -> bytes:
    """Read the first bytes; of a packed file what was packed, if that can be read."""
    with path.open("rb") as file:
        head = file.read(1024)
    if is_packed and head.startswith(GZIP):
        with suppress(OSError, EOFError, ValueError, zlib.error), gzip.open(path) as packed:
            return packed.read(1024)
    return head


def held_instead(path: Path) -> str | None:
    """Return what a file that should hold binary data is, if it is empty or a text that stands for it; what to do."""
    if not path.is_file():
        return None
    head = _head(path, is_packed=False)
    return _text(head) if head else f"empty (0 bytes). {AGAIN}"


def _text(head: bytes) -> str | None:
    """Return what a file is that holds text, and what to do."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if (found := next((what for begin, what in TEXTS.items() if start.startswith(begin)), None)) is not None:
        return found
    if b"/annex/objects/" in head:
        return "a pointer of git-annex, not the file itself. Fetch the file: git annex get, or datalad get."
    if start.startswith(b"{") and start.rstrip().endswith(b"}"):
        return "a JSON text, such as a server's error message. Download the file again."
    return None


def _of_store(text: str) -> str | None:
    """Return what the package zarr cannot do, or what a file holds instead of a chunk."""
    if (codec := CODEC.search(text)) is not None:
        return f"its codec {codec[1]!r} is not supported. Write the array again with Blosc, Zstandard or gzip."
    named = re.search(r'chunk "([^"]+)"', text)
    if named is None or not (file := Path(named[1])).is_file():
        return None
    found = held_instead(file)
    return found and f"its file {file} is {found}"


def _by_system(error: BaseException, text: str) -> str | None:
    """Return what the file system says, such as no permission, None where it is the decoder that says something."""
    if not isinstance(error, OSError) or error.errno not in OF_SYSTEM:
        return None
    stated = re.search(r"error message = '([^']+)'", text)
    said = stated[1] if stated else str(error.strerror or text)
    where = f" ({error.filename})" if error.filename else ""
    return f"{said}{where}. See that you may read the file and that its disk can be reached"


def _by_words(text: str) -> str | None:
    return next((cause for words, cause in SAID.items() if re.search(words, text, re.IGNORECASE)), None)
