"""The parameters and the body of a request, judged by the rules of the part of the server that it asks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import IO, Any
from urllib.parse import urlencode

from scripts.label_server.form import LONGEST_TEXT, Part, check_file_name, once, pairs_of, parts_of, received
from scripts.label_server.route import UPLOADS, Route
from scripts.label_server.rule import RefusedError, parse_json

__all__ = ["judged_body", "judged_query"]

Receive = Callable[[], Awaitable[Any]]


def judged_query(route: Route, content: str) -> dict[str, str]:
    """The parameters, judged; a session stands in for the image."""
    query = pairs_of(content, "the address")
    if "session_id" in query:
        query.pop("image", None)
    for name, value in query.items():
        if name not in route.query:
            known = ", ".join(sorted(route.query)) or "none"
            raise RefusedError(400, f"the address: unknown parameter {name!r}. Known: {known}.")
        if name == "image" and not value and "file" in route.files:
            continue  # the file is the image
        route.query[name](value, name)
    return query


async def judged_body(
    route: Route, query: dict[str, str], kind: str, receive: Receive, limit: int
) -> tuple[str, IO[bytes]]:
    """The content type and the body as they are handed on; the id of an uploaded image is added to `query`."""
    if not route.form and route.json is None:
        return "", await received(_nothing, 0)
    body = await received(receive, limit)
    try:
        if route.json is not None:
            return _judged_json(route, kind, body)
        if kind.lower().startswith("application/x-www-form-urlencoded"):
            pairs = pairs_of(body.read(LONGEST_TEXT).decode("latin-1"), "the form")
            _check_parts(route, [Part(name, None, value) for name, value in pairs.items()], query)
            return "application/x-www-form-urlencoded", _rewritten(body, urlencode(pairs).encode())
        boundary, parts = parts_of(body, kind)
        _check_parts(route, parts, query)
        body.seek(0)
        return f'multipart/form-data; boundary="{boundary}"', body
    except BaseException:
        body.close()
        raise


def _judged_json(route: Route, kind: str, body: IO[bytes]) -> tuple[str, IO[bytes]]:
    content = body.read()
    if not content.strip():
        return "", _rewritten(body, b"")
    if kind.lower().partition(";")[0].strip() != "application/json":
        raise RefusedError(415, f"found the content type {kind!r}, expected application/json.")
    value = parse_json(content, "the request")
    assert route.json is not None
    route.json(value, "the request")
    return "application/json", _rewritten(body, json.dumps(value).encode())


def _check_parts(route: Route, parts: Sequence[Part], query: dict[str, str]) -> None:
    fields = once([(part.name, part.content) for part in parts if part.file is None], "the form")
    for name, content in fields.items():
        if name not in route.fields:
            raise RefusedError(400, f"the form: unknown field {name!r}. Known: {', '.join(route.fields) or 'none'}.")
        route.fields[name](content if name in route.text_fields else parse_json(content or "{}", name), name)
    files = [part for part in parts if part.file is not None]
    if len(files) > 1 and "files" not in route.files:
        raise RefusedError(400, f"the form: found {len(files)} files, expected one.")
    for part in files:
        if part.name not in route.files:
            raise RefusedError(400, f"the form: unknown file {part.name!r}. Known: {', '.join(route.files) or 'none'}.")
        last = check_file_name(part.file or "", UPLOADS)
        if route.method == "PUT" and part.name == "file" and not query.get("image"):
            query["image"] = next(last.removesuffix(ending) for ending in UPLOADS if last.endswith(ending))
            route.query["image"](query["image"], "the name of the file")


def _rewritten(body: IO[bytes], content: bytes) -> IO[bytes]:
    body.seek(0)
    body.truncate()
    body.write(content)
    body.seek(0)
    return body


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
