"""What the label server offers, and what each part of it takes; all else that MONAI Label has is off.

Off is what reads or writes outside of the studies, or loads programs from the network: weights up and down, logs, OHIF,
the DICOM proxy, slides, pages of documentation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from scripts.label_server.key import COUNT, PLAIN, SESSION, SWITCH, TAG, batch_keys, infer_keys, train_keys
from scripts.label_server.rule import Judge, RefusedError, listed, matching, number, one_of, shown, table, text, whole

__all__ = ["UPLOADS", "Route", "Store", "find_route", "routes"]

UPLOADS = (".nii.gz", ".nii", ".nrrd", ".tif")
"""Names of volumes end so: by another one an upload could replace the datastore's own files."""


class Store(Protocol):
    """What the studies hold."""

    def images(self) -> Collection[str]:
        """Return the ids of all images."""

    def has_session(self, session: str) -> bool:
        """Whether a client uploaded an image under this id."""


@dataclass(frozen=True)
class Route:
    """A part of the server.

    Attributes:
        method: of HTTP.
        path: pattern of the whole path.
        query: judges of the parameters of the address.
        json: judge of a body that is JSON; None: no body.
        fields: judges of the form's fields that are JSON objects, or texts where `text_fields` has them.
        files: of the form.
    """

    method: str
    path: str
    query: Mapping[str, Judge] = field(default_factory=dict)
    json: Judge | None = None
    fields: Mapping[str, Judge] = field(default_factory=dict)
    text_fields: Collection[str] = ()
    files: Collection[str] = ()

    @property
    def form(self) -> bool:
        """Whether the body is a form."""
        return bool(self.fields or self.files)


def find_route(offered: Sequence[Route], method: str, path: str) -> Route:
    """Return the part of the server that a request asks.

    Raises:
        RefusedError: there is none.
    """
    found = [route for route in offered if re.fullmatch(route.path, path)]
    for route in found:
        if route.method == method:
            return route
    if found:
        raise RefusedError(405, f"{method} is not offered at {shown(path)}.")
    raise RefusedError(404, f"{shown(path)} is not offered by this server. See docs/guides/MONAI_LABEL.md.")


def routes(model: str, options: Mapping[str, Any], store: Store) -> list[Route]:
    """Return all that is offered.

    Args:
        model: its name at the server.
        options: displayable_configs of the bundle with their values, whose types the client's have to be.
        store: what the studies hold.
    """
    infer, train = infer_keys(options), train_keys(model)
    asked = {"all": SWITCH, "check_if_running": SWITCH}
    image = {
        "image": _known_image(store),
        "session_id": _known_session(store),
        "output": one_of("image", "json", "all"),
    }
    run = {"run_sync": SWITCH, "enqueue": SWITCH}
    images = {"run_sync": SWITCH, "images": one_of("all", "labeled", "unlabeled")}
    every = table({**train, model: table(train)})
    client = {"client_id": text}
    return [
        Route("GET", "/info/?"),
        Route("POST", "/activelearning/(random|first)", json=table({**client, "label_tag": TAG})),
        Route("POST", f"/infer/{model}", image, fields={"params": table(infer)}, files=("file",)),
        *(Route(method, "/batch/infer", asked) for method in ("GET", "DELETE")),
        Route("POST", f"/batch/infer/{model}", images, table({**infer, **batch_keys()})),
        *(Route(method, f"/{kind}/?", asked) for kind in ("train", "scoring") for method in ("GET", "DELETE")),
        Route("POST", "/train/?", run, every),
        Route("POST", f"/train/{model}", run, table(train)),
        Route("POST", "/scoring/?", run, table(client)),
        *_session_routes(),
        *_datastore_routes(store),
    ]


def _session_routes() -> list[Route]:
    one = "/session/[0-9a-f-]{36}"
    made = {"uncompress": matching("(?i)false|no|off|0", "false: archives are not unpacked"), "expiry": COUNT}
    return [
        Route("PUT", "/session/?", made, fields={"client_id": text}, text_fields=("client_id",), files=("files",)),
        Route("GET", one, {"update_ts": SWITCH, "image": SWITCH}),
        Route("DELETE", one),
    ]


def _datastore_routes(store: Store) -> list[Route]:
    known, tag = _known_image(store), {"tag": TAG}
    review = table(dict.fromkeys(_REVIEW, text))
    info = table({"segmentationMeta": review, **_USER})
    saved = table({"label_info": listed(table(_SEGMENT)), "segmentationMeta": review, **_USER})
    new: dict[str, Judge] = {"image": _new_image(store)}
    user = {"params": table(_USER)}
    return [
        Route("GET", "/datastore/?", {"output": one_of("train", "stats", "all")}),
        *(Route("PUT", f"/datastore/{end}", new, fields=user, files=("file",)) for end in ("?", "image")),
        *(Route("DELETE", f"/datastore/{end}", {"id": known}) for end in ("?", "image")),
        Route("GET", "/datastore/image", {"image": known}),
        Route(
            "HEAD",
            "/datastore/image",
            {"image": known, "check_sum": matching("(?:(?:SHA256|SHA512|MD5):)?[0-9A-Fa-f]+", "a sum")},
        ),
        Route("GET", "/datastore/image/info", {"image": known}),
        Route("PUT", "/datastore/image/info", {"image": known}, fields={"info": info}),
        Route("GET", "/datastore/label", {"label": known, **tag}),
        Route("HEAD", "/datastore/label", {"image": known, **tag}),
        Route("PUT", "/datastore/label", {"image": known, **tag}, fields={"params": saved}, files=("label",)),
        Route("DELETE", "/datastore/label", {"id": known, **tag}),
        Route("GET", "/datastore/label/info", {"label": known, **tag}),
        Route("PUT", "/datastore/label/info", {"label": known, **tag}, fields={"info": info}),
        Route("PUT", "/datastore/updatelabelinfo", {"label": known, **tag}, fields={"params": info}),
        Route("GET", "/datastore/dataset", {"limit_cases": COUNT}),
    ]


_USER: dict[str, Judge] = {"client_id": text}
_REVIEW = ("status", "approvedBy", "level", "comment", "editTime")
_SEGMENT: dict[str, Judge] = {"name": text, "idx": whole(0, 2**32), "color": listed(number(0, 255), 4)}


def _known_image(store: Store) -> Judge:
    def judge(value: Any, name: str) -> None:
        if not isinstance(value, str) or any(part in value for part in ("/", "\\", "..", "\0")):
            raise RefusedError(400, f"{name}: found {shown(value)}, expected the id of an image, which is no path.")
        if value not in store.images():
            raise RefusedError(
                404, f"{name}: the studies have no image {shown(value)}. GET /datastore/?output=all lists them."
            )

    return judge


def _new_image(store: Store) -> Judge:
    def judge(value: Any, name: str) -> None:
        PLAIN(value, name)
        if value.casefold() in {image.casefold() for image in store.images()}:  # as many file systems compare names
            raise RefusedError(
                409,
                f"{name}: the studies have an image {shown(value)}. Delete it first, or name the new one otherwise.",
            )

    return judge


def _known_session(store: Store) -> Judge:
    def judge(value: Any, name: str) -> None:
        SESSION(value, name)
        if not store.has_session(value):
            raise RefusedError(404, f"{name}: no session {value}. Upload the image again.")

    return judge
