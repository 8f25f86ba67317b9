"""Bodies of requests: received up to a limit, and forms taken apart so strictly that there is one way to read them."""

from __future__ import annotations

import mmap
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple
from urllib.parse import parse_qsl

from scripts.label_server.rule import NAME, RefusedError, check_text, shown

__all__ = ["LONGEST_TEXT", "Incoming", "Part", "check_file_name", "pairs_of", "parts_of", "received"]

LONGEST_TEXT = 2**20
"""Bytes of a body that is no upload, and of each field of one that is."""
_IN_MEMORY, _LONGEST_HEAD = 2**20, 4096
_BOUNDARY = re.compile(r"""multipart/form-data; *boundary=("?)([\w'()+,./:=?$ -]{1,70})\1""", re.ASCII | re.IGNORECASE)
_DISPOSITION = re.compile(r'form-data; *name="([\w-]{1,64})"(?:; *filename="([^"\r\n\0]{0,1024})")?', re.ASCII)
_HEADERS = {"content-disposition", "content-type"}


class Part(NamedTuple):
    """A part of a form.

    Attributes:
        name: of the field.
        file: name of the file; None: a field.
        content: of a field; empty for a file, which the server reads itself.
    """

    name: str
    file: str | None
    content: str


class Incoming:
    """The messages of a client, and whether its body has ended.

    Args:
        receive: gives the messages.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        self.receive, self.ended, self.size = receive, False, 0

    async def __call__(self) -> Any:
        """Return the next message."""
        message = await self.receive()
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        self.size += len(message.get("body", b""))
        return message

    async def drain(self, limit: int) -> None:
        """Read on to the end: many clients read no answer before they have sent all, and would see a broken connection.

        Args:
            limit: bytes after which the connection is left to break.
        """
        while not self.ended and self.size <= limit:
            await self()


async def received(receive: Callable[[], Awaitable[Any]], limit: int) -> IO[bytes]:
    """Return the body of a request as a temporary file.

    Memory: 1 MiB; what is longer lies on the disk.

    Raises:
        RefusedError: it is longer than `limit` bytes, or the client went away.
    """
    body: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the client went away.")
            body.write(message.get("body", b""))
            if body.tell() > limit:
                raise RefusedError(413, f"the request is longer than {limit:,} bytes.")
            if not message.get("more_body", False):
                body.seek(0)
                return body
    except BaseException:
        body.close()
        raise


def pairs_of(content: str, name: str) -> dict[str, str]:
    """Return the parameters of an address, or of a form written like them, each of which is there once.

    Raises:
        RefusedError: one is there twice, is no UTF-8, or could be evaluated.
    """
    try:
        pairs = parse_qsl(
            content, keep_blank_values=True, strict_parsing=bool(content), errors="strict", max_num_fields=50
        )
    except ValueError as error:  # UnicodeDecodeError too
        raise RefusedError(400, f"{name}: {error}.") from error
    return once(pairs, name)


def once(pairs: Sequence[tuple[str, str]], name: str) -> dict[str, str]:
    """Return pairs as a dictionary.

    Raises:
        RefusedError: a name is there twice; or a text could be evaluated.
    """
    if len(dict(pairs)) < len(pairs):
        raise RefusedError(400, f"{name}: a name is there twice.")
    check_text(dict(pairs), name)
    return dict(pairs)


def parts_of(body: IO[bytes], content_type: str) -> tuple[str, list[Part]]:
    """Return the boundary of a form, and its parts.

    Raises:
        RefusedError: it is not written exactly as clients write forms.
    """
    found = _BOUNDARY.fullmatch(content_type)
    if found is None or found[2].endswith(" "):
        raise RefusedError(
            415, f"found the content type {shown(content_type)}, expected multipart/form-data; boundary=…."
        )
    delimiter = b"--" + found[2].encode()
    size = body.seek(0, os.SEEK_END)
    body.seek(0)
    if size <= _IN_MEMORY:
        return found[2], list(_parts(body.read(), delimiter))
    with mmap.mmap(body.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return found[2], list(_parts(data, delimiter))


def check_file_name(name: str, endings: Sequence[str]) -> str:
    """Return the last part of the name of an uploaded file: 3D Slicer sends its whole path.

    Raises:
        RefusedError: it leads upwards, or does not end as volumes do.
    """
    check_text(name, "the name of a file")
    *folders, last = re.split(r"[/\\]", name)
    if ".." in folders or ".." in last or not re.fullmatch(NAME, last) or len(last) > 200:
        raise RefusedError(
            400, f"found the file name {shown(name)}, expected a name without `..`, such as image.nii.gz."
        )
    if not last.endswith(tuple(endings)):
        raise RefusedError(400, f"found the file name {shown(name)}, expected one that ends in {', '.join(endings)}.")
    return last


def _parts(data: Any, delimiter: bytes) -> Iterator[Part]:
    """`data` has slices and `find`, as bytes and maps of files do."""
    at = len(delimiter)
    if data[:at] != delimiter:
        raise _damaged("it does not begin with its boundary")
    while data[at : at + 2] == b"\r\n":
        end = data.find(b"\r\n\r\n", at, at + _LONGEST_HEAD)
        if end < 0:
            raise _damaged("a part has no header that ends")
        following = data.find(b"\r\n" + delimiter, end + 4)
        if following < 0:
            raise _damaged("a part does not end")
        yield _part(data[at + 2 : end], data, end + 4, following)
        at = following + 2 + len(delimiter)
    if data[at : at + 2] != b"--" or data[at + 2 : at + 10].strip() or len(data) > at + 10:
        raise _damaged("it does not end with its boundary")


def _part(head: bytes, data: Any, begin: int, end: int) -> Part:
    try:
        lines = [line.partition(":") for line in head.decode().split("\r\n")]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        found = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
        if found is None or len(headers) < len(lines) or not headers.keys() <= _HEADERS:
            raise _damaged(f"the header {shown(head)} of a part")
        if found[2] is not None:
            return Part(found[1], found[2], "")
        if end - begin > LONGEST_TEXT:
            raise RefusedError(413, f"{found[1]}: longer than {LONGEST_TEXT:,} bytes.")
        return Part(found[1], None, data[begin:end].decode())
    except UnicodeDecodeError as error:
        raise _damaged("a text is no UTF-8") from error


def _damaged(what: str) -> RefusedError:
    return RefusedError(400, f"the form cannot be read: {what}.")
