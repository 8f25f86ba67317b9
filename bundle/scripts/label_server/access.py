"""Who may ask the label server: which names lead to it, which pages may, and the token.

A web page can send requests to a server on the same machine, and can make its own name lead there. So the Host header
has to be a name of this server, and an Origin header a page that was allowed.
"""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scripts.errors import InputError
from scripts.label_server.rule import RefusedError, shown

__all__ = ["ACCESS", "OFF", "Access", "make_access"]

ACCESS = "CYSGAN_LABEL_SERVER_ACCESS"
"""Variable of the environment by which the command tells the server who may ask."""
OFF = "off"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}", re.ASCII)
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?", re.ASCII)


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names, without ports, by which this server is reached.
        origins: pages that may read answers, "https://name:port".
        token: "" asks for none.
        any_address: whether a Host may be any IP address: no page can make a name of its own of one.
    """

    hosts: tuple[str, ...]
    origins: tuple[str, ...] = ()
    token: str = ""
    any_address: bool = False

    def to_text(self) -> str:
        """Return it as one line, for the environment of the server."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Access:
        """Return what `to_text` wrote."""
        given: dict[str, Any] = json.loads(text)
        return cls(tuple(given["hosts"]), tuple(given["origins"]), given["token"], given["any_address"])

    def address(self, host: str, port: int) -> str:
        """Return the address that clients are given."""
        name = self.hosts[-1] if self.any_address else f"[{host}]" if ":" in host else host
        return f"http://{name}:{port}/{self.token}".rstrip("/")

    def check_host(self, values: Sequence[str]) -> None:
        """See that a request was sent to this server.

        Raises:
            RefusedError: the Host header is missing, double, or another name.
        """
        found = _HOST.fullmatch(values[0].lower()) if len(values) == 1 else None
        if found is None or not (found[1] in self.hosts or (self.any_address and _is_address(found[1]))):
            known = ", ".join(self.hosts)
            raise RefusedError(
                403, f"the Host header {shown(list(values))} is not this server: {known}. --hosts adds a name."
            )

    def check_origin(self, values: Sequence[str]) -> str | None:
        """Return the page that sent a request, None for programs that are no page.

        Raises:
            RefusedError: another page.
        """
        if not values:
            return None
        if len(values) > 1 or values[0] not in self.origins:
            raise RefusedError(403, f"pages of the origin {shown(list(values))} may not ask. --origins allows one.")
        return values[0]

    def known(self, token: str) -> bool:
        """Whether this is the token, in a time that says nothing of it."""
        return secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def path(self, path: str, authorization: Sequence[str]) -> str:
        """Return the path without the token, which is its first part or in the header `Authorization: Bearer …`.

        Raises:
            RefusedError: the token is missing or wrong.
        """
        if not self.token:
            return path
        first, _, rest = path.removeprefix("/").partition("/")
        if self.known(first):
            return f"/{rest}"
        kind, _, given = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        if kind.lower() == "bearer" and self.known(given.strip()):
            return path
        raise RefusedError(
            401, "the token is missing or wrong: use the address that the server printed when it started."
        )


def make_access(host: str, port: int, token: str | None, hosts: Sequence[str], origins: Sequence[str]) -> Access:
    """Return who may ask a server.

    Args:
        host: address that it listens at.
        port: number.
        token: None makes one, "off" asks for none, which is for 127.0.0.1 only.
        hosts: further names of this machine.
        origins: pages that may read answers.

    Raises:
        InputError: one of them is not as expected.
    """
    local = f"[{host}]" if ":" in host else host
    loopback = local in _LOOPBACK
    if token == OFF and not loopback:
        raise InputError(f"--token off with --host {host}: other machines would need no token. Leave out one of them.")
    if token not in (None, OFF) and not _TOKEN.fullmatch(token or ""):
        raise InputError("--token: expected 16 to 200 letters, digits, - and _, or off.")
    if wrong := [origin for origin in origins if not _ORIGIN.fullmatch(origin.lower())]:
        raise InputError(f"--origins {wrong[0]}: expected http://name:port or https://name.")
    if wrong := [name for name in hosts if not _HOST.fullmatch(name.lower())]:
        raise InputError(f"--hosts {wrong[0]}: expected names of this machine.")
    everywhere = host in ("0.0.0.0", "::")
    own = [] if loopback else [socket.gethostname(), socket.getfqdn()] if everywhere else [local]
    names = dict.fromkeys(_HOST.sub(r"\1", name.lower()) for name in (*own, *hosts))
    pages = [f"http://{name}:{port}" for name in (*_LOOPBACK, *names)]
    made = "" if token == OFF else token or secrets.token_urlsafe(32)
    return Access((*_LOOPBACK, *names), (*pages, *(origin.rstrip("/") for origin in origins)), made, everywhere)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
