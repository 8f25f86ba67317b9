"""An ASGI application in front of the label server: it judges every request before MONAI Label sees it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import IO, Any
from urllib.parse import urlencode

from scripts.label_server.access import Access
from scripts.label_server.form import LONGEST_TEXT, Incoming, pairs_of, received
from scripts.label_server.request import judged_body, judged_query
from scripts.label_server.route import Route, find_route
from scripts.label_server.rule import RefusedError

__all__ = ["Guard"]

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEPT = ("accept", "accept-encoding", "host", "range", "user-agent")
_CHUNK = 2**20


class Guard:
    """Passes on what the rules allow, written anew from what was judged, and answers all else in one line.

    The application behind it gets no header, parameter or path as the client wrote it: what was parsed here is written
    again, so that it cannot be read in another way there.

    Args:
        app: MONAI Label's application.
        access: who may ask.
        offered: the parts of the server.
        limit: bytes of an upload.
    """

    def __init__(self, app: App, access: Access, offered: Sequence[Route], limit: int = 16 * 2**30) -> None:
        self.app, self.access, self.offered, self.limit = app, access, offered, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work on a request, or on the start and end of the server."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        page = None
        try:
            self.access.check_host(headers.get("host", []))
            page = self.access.check_origin(headers.get("origin", []))
            send = _for_page(send, page)
            if scope["method"] == "OPTIONS":
                await _answer(send, 204, None)
            elif not await self._login(scope, receive, send):
                await self._judge(scope, headers, receive, send)
        except RefusedError as error:
            logger.warning("%s %s", error.status, error.detail)
            await _answer(send, error.status, {"detail": error.detail})

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer how MONAI Label's clients log in, whose password is the token; false: it is another request."""
        asked = (scope["method"], scope["path"])
        if not self.access.token or asked not in {("GET", "/auth/"), ("POST", "/auth/token")}:
            return False
        if asked[0] == "GET":
            await _answer(send, 200, {"enabled": True, "client_id": "", "realm": ""})
            return True
        with await received(receive, LONGEST_TEXT) as body:
            form = pairs_of(body.read().decode("latin-1"), "the form")
        if not self.access.known(form.get("password", "")):
            raise RefusedError(401, "the password is not the token that the server printed when it started.")
        await _answer(send, 200, {"access_token": self.access.token, "token_type": "bearer"})
        return True

    async def _judge(self, scope: Scope, headers: Mapping[str, list[str]], receive: Receive, send: Send) -> None:
        path = self.access.path(scope["path"], headers.get("authorization", []))
        if scope["method"] == "GET" and path in ("/", "/auth/token/valid"):
            await _answer(send, 200, {"detail": "A MONAI Label server of the CySGAN bundle.", "username": "token"})
            return
        incoming = Incoming(receive)
        try:
            route = find_route(self.offered, scope["method"], path)
            query = judged_query(route, scope["query_string"].decode("latin-1"))
            limit = self.limit if route.files else LONGEST_TEXT
            kind, body = await judged_body(route, query, _content_type(headers), incoming, limit)
        except RefusedError:
            if scope["method"] in ("POST", "PUT"):
                await incoming.drain(self.limit)
            raise
        with body:
            await self.app(_written(scope, route, path, query, kind, body), _replay(body, incoming), send)


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _content_type(headers: Mapping[str, list[str]]) -> str:
    values = headers.get("content-type", [])
    if len(values) > 1:
        raise RefusedError(400, "the content type is there twice.")
    return "".join(values).strip()


def _written(scope: Scope, route: Route, path: str, query: Mapping[str, str], kind: str, body: IO[bytes]) -> Scope:
    """The request as the application gets it, from what was judged."""
    size = body.seek(0, os.SEEK_END)
    body.seek(0)
    headers = [(name, value) for name, value in scope["headers"] if name.decode("latin-1").lower() in _KEPT]
    headers += [(b"content-length", str(size).encode())] if size else []
    headers += [(b"content-type", kind.encode())] if kind else []
    whole = path.rstrip("/") + "/" if route.path.endswith("/?") else path
    address = {"path": whole, "raw_path": whole.encode(), "query_string": urlencode(query).encode()}
    return {**scope, **address, "root_path": "", "headers": headers}


def _replay(body: IO[bytes], receive: Receive) -> Receive:
    """Hand on a body, then what the client does."""
    ended = False

    async def again() -> Any:
        nonlocal ended
        if ended:
            return await receive()
        chunk = body.read(_CHUNK)
        ended = len(chunk) < _CHUNK
        return {"type": "http.request", "body": chunk, "more_body": not ended}

    return again


def _for_page(send: Send, page: str | None) -> Send:
    """Let an allowed page read the answer, and no other one, whatever the application says of it."""
    added = [(b"vary", b"Origin"), (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
    if page:
        added += [
            (b"access-control-allow-origin", page.encode()),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
        ]

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", []) if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return sent


async def _answer(send: Send, status: int, content: Mapping[str, Any] | None) -> None:
    body = b"" if content is None else json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    await send({"type": "http.response.start", "status": status, "headers": headers if status != 204 else []})
    await send({"type": "http.response.body", "body": body})
