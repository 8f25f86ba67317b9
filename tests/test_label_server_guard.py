"""The guard before the label server: what requests may not say, asked of the application itself, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts.errors import InputError
from scripts.label_server.access import Access, make_access
from scripts.label_server.form import LONGEST_TEXT
from scripts.label_server.guard import Guard
from scripts.label_server.route import routes

TOKEN = "a-token-for-these-tests"
SESSION = "0b5a3e5c-1111-2222-3333-444455556666"
ACCESS = Access(("127.0.0.1", "localhost", "[::1]"), ("http://127.0.0.1:8000",), TOKEN)
# what a configuration would evaluate, refer to, or call
EVIL = [
    "$1",
    "$__import__('os').system('x')",
    "@device",
    "%configs/train.yaml::x",
    " $1",
    "\n\t@x",
    "\ufeff$1",
    "\u00a0%x",
]
EVIL_KEYS = [*EVIL, "_target_", "a#_target_", "a::_target_", "_requires_", "device::_disabled_"]


class Studies:
    def images(self) -> list[str]:
        return ["a", "b.c", "..", "x/y"]  # the last two: whatever the index of the studies says

    def has_session(self, session: str) -> bool:
        return session == SESSION


class Answer(NamedTuple):
    """What the client is answered, what the application was given (None where it was not asked), and what is unread."""

    status: int
    text: str
    headers: dict[str, str]
    scope: dict[str, Any] | None
    body: bytes
    unread: int

    @property
    def query(self) -> dict[str, str]:
        assert self.scope is not None, self.text
        return {name: value[0] for name, value in parse_qs(self.scope["query_string"].decode()).items()}


def ask(
    method: str,
    address: str,
    body: bytes = b"",
    kind: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    access: Access = ACCESS,
    limit: int = 2**21,
    scheme: str = "http",
) -> Answer:
    """Ask as a client does, by default one that has the token in its address."""
    sent: list[dict[str, Any]] = []
    seen: list[Any] = [None, b""]
    chunks = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen[0] = scope
        while scope["type"] == "http":
            message = await receive()
            seen[1] += message["body"]
            if not message["more_body"]:
                break
        if scope["type"] == "http":
            cors = [(b"access-control-allow-origin", b"*")]
            await send({"type": "http.response.start", "status": 200, "headers": cors})
            await send({"type": "http.response.body", "body": b"done"})

    async def receive() -> Any:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = address.partition("?")
    given_headers = {"host": "127.0.0.1:8000", **({"content-type": kind} if kind else {}), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in given_headers.items() if value]
    scope = {"type": scheme, "method": method, "path": path, "query_string": query.encode(), "headers": pairs}
    guard = Guard(app, access, routes("cysgan", {"instances": True, "mode": ["one", "two"]}, Studies()), limit)
    asyncio.run(guard(scope, receive, send))
    start = sent[0] if sent else {"status": 0}
    answered = {name.decode(): value.decode() for name, value in start.get("headers", [])}
    text = b"".join(message.get("body", b"") for message in sent).decode()
    return Answer(start.get("status", 0), text, answered, seen[0], seen[1], len(chunks))


def form(parts: Mapping[str, str], files: Mapping[str, str] | None = None) -> tuple[bytes, str]:
    """A form as 3D Slicer writes it."""
    limit = "----------lImIt_of_THE_fIle_eW_$"
    lines = [
        f'--{limit}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}' for name, text in parts.items()
    ]
    lines += [
        f'--{limit}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\nvoxels"
        for name, file in (files or {}).items()
    ]
    body = "\r\n".join([*lines, f"--{limit}--", "", ""])
    return body.encode(), f"multipart/form-data; boundary={limit}"


def train(params: Any) -> Answer:
    return ask("POST", f"/{TOKEN}/train/cysgan?run_sync=true", json.dumps(params).encode(), "application/json")


def infer(params: Any, query: str = "image=a") -> Answer:
    return ask("POST", f"/{TOKEN}/infer/cysgan?{query}", *form({"params": json.dumps(params)}))


def upload(image: str | None, file: str, params: str = "{}") -> Answer:
    query = "" if image is None else f"?image={quote(image, safe='')}"
    return ask("PUT", f"/{TOKEN}/datastore/{query}", *form({"params": params}, {"file": file}))


def refused(answer: Answer, *statuses: int) -> str:
    """One line, and the application was not asked."""
    assert answer.scope is None
    assert answer.status in (statuses or (400,)), answer.text
    detail: str = json.loads(answer.text)["detail"]
    assert detail and "\n" not in detail
    return detail


# ---- what may be said ------------------------------------------------------------------------------------------------
def test_what_clients_send_is_handed_on() -> None:
    slicer = {"device": "cpu", "model_filename": "model.pt", "instances": True, "client_id": "user-xyz"}
    answer = infer({**slicer, "result_extension": ".nrrd", "result_dtype": "uint8"}, "image=b.c&output=json")
    assert (answer.status, answer.query) == (200, {"image": "b.c", "output": "json"})
    assert answer.scope is not None and answer.scope["path"] == "/infer/cysgan" and b"user-xyz" in answer.body
    config = {"device": "cpu", "pretrained": True, "max_epochs": 50, "val_split": 0.2, "multi_gpu": True, "gpus": "all"}
    more = {"tracking": "None", "tracking_uri": "", "tracking_experiment_name": "", "run_id": ""}
    answer = train({**config, **more, "model_filename": "model.pt", "client_id": "user-xyz"})
    assert json.loads(answer.body)["val_split"] == 0.2
    answer = ask("POST", f"/{TOKEN}/train/", json.dumps({"cysgan": {"max_epochs": 2}}).encode(), "application/json")
    assert answer.status == 200
    segments = {"label_info": [{"name": "nucleus", "idx": 1}], "client_id": "user"}
    body, kind = form({"params": json.dumps(segments)}, {"label": "C:/Ann/Temp/label.nii.gz"})
    assert ask("PUT", f"/{TOKEN}/datastore/label?image=a", body, kind).body == body
    assert ask("POST", f"/{TOKEN}/activelearning/random", b'{"client_id": "x"}', "application/json").status == 200
    for address in ("/info", "/info/", "/datastore/?output=all", "/train/?check_if_running=true", "/batch/infer"):
        assert ask("GET", f"/{TOKEN}{address}").status == 200
    assert ask("GET", f"/{TOKEN}/info").scope["path"] == "/info/"  # type: ignore[index]


def test_a_form_may_be_written_like_an_address() -> None:
    """So the module MONAILabelReviewer sends what was said of a label."""
    said = {
        "segmentationMeta": {"status": "approved", "approvedBy": "Ann", "level": "easy", "comment": "", "editTime": "1"}
    }
    body, kind = b"params=" + quote(json.dumps(said)).encode(), "application/x-www-form-urlencoded"
    answer = ask("PUT", f"/{TOKEN}/datastore/updatelabelinfo?label=a&tag=version_1", body, kind)
    assert json.loads(parse_qs(answer.body.decode())["params"][0]) == said


def test_a_session_stands_in_for_the_image() -> None:
    """3D Slicer gives the name of a volume that the studies lack as well."""
    assert infer({}, f"image=/etc/passwd&session_id={SESSION}").query == {"session_id": SESSION}
    assert "no session" in refused(infer({}, f"session_id={SESSION.replace('5', '6')}"), 404)
    assert refused(infer({}, "session_id=../../etc"))
    body, kind = form({"client_id": "x"}, {"files": "/var/x.nii.gz"})
    assert ask("PUT", f"/{TOKEN}/session/", body, kind).status == 200
    assert "archives are not unpacked" in refused(ask("PUT", f"/{TOKEN}/session/?uncompress=true", body, kind))
    assert refused(ask("DELETE", f"/{TOKEN}/session/../../../../etc/passwd/aaaaaaaaaaaaaaa"), 404)


def test_an_uploaded_image_gets_the_name_of_its_file() -> None:
    """3D Slicer sends the whole path of its own file."""
    assert upload("new one", "/var/Slicer/x.nii.gz").query == {"image": "new one"}
    assert upload(None, "C:\\Users\\Ann.B\\y_2.nii.gz").query == {"image": "y_2"}
    assert "Delete it first" in refused(upload("a", "x.nii.gz"), 409)
    assert "Delete it first" in refused(upload(None, "A.nii.gz"), 409)


# ---- what may not ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("evil", EVIL)
def test_no_value_is_evaluated(evil: str) -> None:
    for key in ("max_epochs", "device", "client_id", "tracking_experiment_name", "tracking_uri", "run_id", "gpus"):
        refused(train({key: evil}))
    refused(train({"model_filename": ["model.pt", evil]}))
    refused(train({"cysgan": {"device": evil}}))
    for key in (
        "instances",
        "mode",
        "device",
        "client_id",
        "result_extension",
        "label_tag",
        "logging",
        "model_filename",
    ):
        refused(infer({key: evil}))
    refused(infer({"instances": [[{"x": [evil]}]]}))
    for name in ("image", "output", "session_id", "new"):
        refused(infer({}, f"{name}={quote(evil)}"))
    refused(upload(evil, "x.nii.gz"))
    refused(upload("x", f"{evil}.nii.gz"))
    refused(upload("x", "x.nii.gz", json.dumps({"client_id": evil})))
    refused(upload("x", "x.nii.gz", json.dumps({"client_id": "{'_target_': 'os.system'}"})))
    refused(upload("x..y", "x.nii.gz"))
    body, kind = form({"params": json.dumps({"label_info": [{"name": evil, "idx": 1}]})}, {"label": "x.nii.gz"})
    refused(ask("PUT", f"/{TOKEN}/datastore/label?image=a", body, kind))
    body = b"params=" + quote(json.dumps({"segmentationMeta": {"comment": evil}})).encode()
    kind = "application/x-www-form-urlencoded"
    refused(ask("PUT", f"/{TOKEN}/datastore/updatelabelinfo?label=a&tag=final", body, kind))
    refused(ask("POST", f"/{TOKEN}/infer/{quote(evil)}?image=a", *form({"params": "{}"})), 404)


@pytest.mark.parametrize("key", EVIL_KEYS)
def test_no_key_is_evaluated(key: str) -> None:
    for value in ({key: 1}, {"instances": {key: 1}}, {"cysgan": {"device": [{key: "x"}]}}):
        refused(train(value))
        refused(infer(value))
    refused(infer({}, f"image=a&{quote(key)}=1"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.sampled_from(EVIL_KEYS), st.booleans(), st.lists(st.booleans(), max_size=4))
def test_wherever_it_stands_it_is_found(beside: Any, evil: str, as_key: bool, way: list[bool]) -> None:
    value: Any = {evil: beside} if as_key or evil not in EVIL else evil
    for in_list in way:
        value = [beside, value] if in_list else {"key": value, "other": beside}
    refused(train({"device": value}))
    refused(infer({"instances": value}))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.sampled_from(["application/json", "multipart/form-data; boundary=b", "x", ""]))
def test_whatever_is_sent_is_answered_in_one_line(body: bytes, kind: str) -> None:
    for content in (body, b"--b\r\n" + body + b"\r\n--b--\r\n"):
        for method, address in (
            ("POST", "/infer/cysgan?image=a"),
            ("POST", "/train/cysgan"),
            ("PUT", "/datastore/?image=n"),
        ):
            answer = ask(method, f"/{TOKEN}{address}", content, kind)
            if answer.scope is None:
                refused(answer, 400, 415)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"max_epoch": 1}, "unknown key 'max_epoch'. Known: client_id, cysgan"),
        ({"max_epochs": "1"}, "expected an integer"),
        ({"max_epochs": True}, "expected an integer"),
        ({"max_epochs": 10**9}, "expected an integer"),
        ({"pretrained": "yes"}, "expected true or false"),
        ({"val_split": 1}, "expected a number from -1 to 0.99"),
        ({"model_filename": "../../other.pt"}, "expected the name of a file in models"),
        ({"model_filename": ["model.pt", 3]}, "expected the name of a file in models"),
        ({"device": {"a": 1}}, "expected a device"),
        ({"tracking": "mlflow"}, "expected one of None"),
        ({"tracking_uri": "file:///var/x"}, "expected one of None"),
        ({"run_id": "initialize"}, "expected one of ''"),
        ({"gpus": "0;rm"}, "expected all, or numbers"),
        ({"client_id": "a\0b"}, "control characters"),
        ({"client_id": "a" * 5000}, "up to 4096 characters"),
        ({"client_id": [[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]}, "nested too deeply"),
        ([1], "expected a JSON object, found list"),
    ],
)
def test_keys_and_types_that_training_does_not_know_are_refused(params: Any, words: str) -> None:
    every = ask("POST", f"/{TOKEN}/train/", json.dumps(params).encode(), "application/json")
    assert words in refused(every)


@pytest.mark.parametrize(
    "body", [b"{", b"[" * 10**5, b'{"max_epochs": NaN}', b'{"max_epochs": 1, "max_epochs": "$1"}', b"\xff", b"1" * 9000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert "expected a JSON object" in refused(ask("POST", f"/{TOKEN}/train/cysgan", body, "application/json"))


def test_json_is_written_anew() -> None:
    """In whatever encoding it came, there is one way to read it."""
    answer = ask("POST", f"/{TOKEN}/train/cysgan", '{"max_epochs":1}'.encode("utf-16"), "application/json")
    assert answer.body == b'{"max_epochs": 1}'


def test_another_content_type_is_refused() -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
        refused(ask("POST", f"/{TOKEN}/train/cysgan", b'{"max_epochs": 1}', kind), 415)
    body, kind = form({"params": "{}"})
    for wrong in (
        "",
        "application/json",
        f"{kind}; charset=utf-7",
        "multipart/form-data",
        "multipart/mixed; boundary=b",
    ):
        refused(ask("POST", f"/{TOKEN}/infer/cysgan?image=a", body, wrong), 415)


@pytest.mark.parametrize(
    "image",
    ["/etc/passwd", "../x", "..", "x/y", "%2e%2e%2fx", "x\\y", "a\0", "", "a/", "./a", "b", "A", "a%00", "file:///a"],
)
def test_an_image_is_one_of_the_studies_and_no_path(image: str) -> None:
    """Encoded as an address encodes it, and twice."""
    for value in (quote(image, safe=""), quote(quote(image, safe=""), safe="")):
        if value == "":
            continue
        for method, address in (
            ("GET", f"/datastore/image?image={value}"),
            ("GET", f"/datastore/image/info?image={value}"),
            ("HEAD", f"/datastore/image?image={value}"),
            ("DELETE", f"/datastore/?id={value}"),
            ("GET", f"/datastore/label?label={value}&tag=final"),
            ("DELETE", f"/datastore/label?id={value}&tag=final"),
        ):
            refused(ask(method, f"/{TOKEN}{address}"), 400, 404)
        refused(infer({}, f"image={value}"), 400, 404)
        if image not in ("b", "A"):
            upload_of = ask("PUT", f"/{TOKEN}/datastore/?image={value}", *form({}, {"file": "x.nii.gz"}))
            refused(upload_of)


@pytest.mark.parametrize("tag", ["../x", "a/b", "", "..", "a.b", "a\\b", "$x", "final\0"])
def test_a_tag_is_no_path(tag: str) -> None:
    for method, name in (("GET", "label"), ("DELETE", "id")):
        refused(ask(method, f"/{TOKEN}/datastore/label?{name}=a&tag={quote(tag, safe='')}"))
    body, kind = form({"params": "{}"}, {"label": "x.nii.gz"})
    refused(ask("PUT", f"/{TOKEN}/datastore/label?image=a&tag={quote(tag, safe='')}", body, kind))
    refused(infer({"label_tag": tag}))


@pytest.mark.parametrize(
    "file", ["../x.nii.gz", "/a/../x.nii.gz", "x.json", "x", "", "a\\..\\x.nii.gz", "..nii.gz", "x.sh;.tif"]
)
def test_a_file_leads_nowhere_and_is_a_volume(file: str) -> None:
    """datastore_v2.json, say, would replace the index of the studies."""
    refused(upload("datastore_v2", file))
    refused(ask("PUT", f"/{TOKEN}/datastore/label?image=a", *form({}, {"label": file})))
    refused(ask("PUT", f"/{TOKEN}/session/", *form({}, {"files": file})))
    refused(ask("POST", f"/{TOKEN}/infer/cysgan", *form({"params": "{}"}, {"file": file})))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/infer/wsi/cysgan"),
        ("POST", "/infer/wsi_v2/cysgan"),
        ("POST", "/infer/other?image=a"),
        ("GET", "/proxy/dicom/wado/x"),
        ("POST", "/proxy/dicom/x"),
        ("GET", "/logs/"),
        ("GET", "/logs/gpu"),
        ("GET", "/model/cysgan"),
        ("PUT", "/model/cysgan"),
        ("DELETE", "/model/cysgan"),
        ("GET", "/model/info/cysgan"),
        ("GET", "/ohif/../../x"),
        ("GET", "/static/ohif/index.html"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("POST", "/reload"),
        ("POST", "/scoring/dice"),
        ("POST", "/activelearning/other"),
        ("GET", "/datastore/../../etc/passwd"),
        ("GET", "//datastore/image"),
        ("PATCH", "/info/"),
        ("POST", "/info/"),
    ],
)
def test_all_else_is_off(method: str, path: str) -> None:
    refused(ask(method, f"/{TOKEN}{path}", b"{}", "application/json"), 404, 405)


def test_parameters_are_known_and_there_once() -> None:
    for query in (
        "image=a&image=/etc/passwd",
        "image=/etc/passwd&image=a",
        "image=a&image=a",
        "image=a&x=1",
        "image=a&output=dicom_seg",
        "image",
        "image=%ff",
    ):
        refused(infer({}, query))
    for key in (
        "model",
        "image",
        "images",
        "session",
        "label",
        "_image_id",
        "bundle_path",
        "skip_writer",
        "description",
    ):
        assert "unknown key" in refused(infer({key: "a"}))
        batch = json.dumps({key: "a"}).encode()
        assert refused(ask("POST", f"/{TOKEN}/batch/infer/cysgan", batch, "application/json"))
    refused(ask("GET", f"/{TOKEN}/datastore/?output=x"))
    refused(ask("POST", f"/{TOKEN}/infer/cysgan?image=a", *form({"params": "{}", "info": "{}"})))
    refused(ask("POST", f"/{TOKEN}/infer/cysgan?image=a", *form({"params": "{}"}, {"label": "x.nii.gz"})))


GOOD = b'--b\r\nContent-Disposition: form-data; name="params"\r\n\r\n{}\r\n--b--\r\n'
SECOND = b'--b\r\nContent-Disposition: form-data; name="params"\r\n\r\n{"instances": "$1"}\r\n--b--\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\nx",
        GOOD.removesuffix(b"\r\n--b--\r\n"),
        GOOD.replace(b"--b--", b"--bx\r\n\r\n--b--"),
        b"x\r\n" + GOOD,
        GOOD + SECOND,
        GOOD.replace(b"--b--\r\n", SECOND),
        GOOD.replace(b'"params"', b'"params"; x=1'),
        GOOD.replace(b'"params"', b'"params"\r\nContent-Transfer-Encoding: base64'),
        GOOD.replace(b'"params"', b'"x"\r\ncontent-disposition: form-data; name="params"'),
        GOOD.replace(b"{}", b"\xff"),
        GOOD.replace(b"\r\n\r\n", b"\r\n"),
        GOOD.replace(b"Content-Disposition", b"A" * 5000),
    ],
)
def test_a_form_is_read_in_one_way_or_not_at_all(body: bytes) -> None:
    kind = 'multipart/form-data; boundary="b"'
    assert ask("POST", f"/{TOKEN}/infer/cysgan?image=a", GOOD, kind).status == 200
    refused(ask("POST", f"/{TOKEN}/infer/cysgan?image=a", body, kind))


def test_what_is_too_long_is_refused_and_an_upload_may_be_longer() -> None:
    body, kind = form({"params": json.dumps({"client_id": "x" * 2**20})})
    assert f"params: longer than {LONGEST_TEXT:,}" in refused(ask("POST", f"/{TOKEN}/infer/cysgan", body, kind), 413)
    refused(ask("POST", f"/{TOKEN}/train/cysgan", b" " * (LONGEST_TEXT + 1), "application/json"), 413)
    body, kind = form({"params": "{}"}, {"file": "x.nii.gz"})
    body = body.replace(b"voxels", bytes(range(256)) * 6000)
    assert ask("PUT", f"/{TOKEN}/datastore/?image=n", body, kind).body == body
    refused(ask("PUT", f"/{TOKEN}/datastore/?image=n", body, kind, limit=10**6), 413)


def test_an_answer_waits_for_the_end_of_what_is_sent_from_those_who_may_ask() -> None:
    """A client that is still sending would see a broken connection and no reason; strangers are not listened to."""
    body, kind = form({}, {"file": "x.nii.gz"})
    body = body.replace(b"voxels", bytes(10**5))
    assert ask("PUT", f"/{TOKEN}/datastore/?image=../x", body, kind).unread == 0
    assert ask("PUT", f"/{TOKEN}/model/cysgan", body, kind).unread == 0
    assert ask("PUT", "/datastore/?image=new", body, kind).unread > 90
    assert ask("PUT", f"/{TOKEN}/datastore/?image=new", body, kind, limit=10**4).unread > 80


# ---- who may ask -----------------------------------------------------------------------------------------------------
def test_the_token_is_in_the_address_or_the_header() -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert ask("GET", "/info/", headers=bearer).status == 200
    for address in ("/info/", f"/{TOKEN[:-1]}/info/", f"/{TOKEN}x/info/", f"/x/{TOKEN}/info/", "/", "/docs"):
        assert ask("GET", address).headers["www-authenticate"] == "Bearer"
        refused(ask("GET", address), 401)
    for wrong in (f"Basic {TOKEN}", "Bearer x", TOKEN, "Bearer"):
        refused(ask("GET", "/info/", headers={"authorization": wrong}), 401)
    assert ask("GET", f"/{TOKEN}").status == ask("GET", f"/{TOKEN}/").status == 200
    assert ask("GET", "/info/", access=replace(ACCESS, token="")).status == 200
    given = ask("GET", "/info/", headers={**bearer, "cookie": "x", "x-forwarded-host": "y"}).scope
    assert given is not None and {name for name, _ in given["headers"]} == {b"host"}


def test_clients_of_monai_label_log_in_with_the_token_as_password() -> None:
    assert json.loads(ask("GET", "/auth/").text)["enabled"]
    kind = "application/x-www-form-urlencoded"
    got = json.loads(ask("POST", "/auth/token", f"username=x&password={TOKEN}&grant_type=password".encode(), kind).text)
    assert got == {"access_token": TOKEN, "token_type": "bearer"}
    bearer = {"authorization": f"{got['token_type']} {got['access_token']}"}
    assert ask("GET", "/auth/token/valid", headers=bearer).status == 200
    refused(ask("GET", "/auth/token/valid"), 401)
    refused(ask("POST", "/auth/token", b"username=x&password=y", kind), 401)
    refused(ask("GET", f"/{TOKEN}/auth/"), 404)  # no second question to a client that has the whole address


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8000", "127.0.0.1.evil", "127.0.0.1:x", "192.168.1.2:8000"]
)
def test_another_host_is_refused(host: str) -> None:
    assert "--hosts" in refused(ask("GET", f"/{TOKEN}/info/", headers={"host": host}), 403)


def test_the_names_of_this_machine_are_known() -> None:
    for host in ("127.0.0.1", "localhost:9000", "LOCALHOST:8000", "[::1]:8000"):
        assert ask("GET", f"/{TOKEN}/info/", headers={"host": host}).status == 200
    everywhere = make_access("0.0.0.0", 8000, TOKEN, ["lab.example.org"], [])
    for host in ("192.168.1.2:8000", "lab.example.org:8000", "[fe80::1]:8000"):
        assert ask("GET", f"/{TOKEN}/info/", headers={"host": host}, access=everywhere).status == 200
    refused(ask("GET", f"/{TOKEN}/info/", headers={"host": "evil.example"}, access=everywhere), 403)


def test_only_allowed_pages_may_ask_and_read() -> None:
    """MONAI Label itself lets every page read."""
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8001", "http://127.0.0.1:8000.evil"):
        for method, path in (("GET", "/info/"), ("OPTIONS", "/info/"), ("POST", "/train/cysgan")):
            answer = ask(method, f"/{TOKEN}{path}", headers={"origin": origin})
            assert "access-control-allow-origin" not in answer.headers
            refused(answer, 403)
    page = "http://127.0.0.1:8000"
    answer = ask("GET", f"/{TOKEN}/info/", headers={"origin": page})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, page)
    assert "access-control-allow-origin" not in ask("GET", f"/{TOKEN}/info/").headers
    preflight = ask("OPTIONS", "/info/", headers={"origin": page, "access-control-request-method": "POST"})
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, page)


def test_web_sockets_are_closed_and_the_start_is_handed_on() -> None:
    assert ask("GET", f"/{TOKEN}/info/", scheme="websocket").scope is None
    assert ask("GET", "", scheme="lifespan").scope is not None


def test_access_survives_the_environment_and_has_a_token_of_its_own() -> None:
    one, two = (make_access("127.0.0.1", 8000, None, [], ["https://a.example"]) for _ in "ab")
    assert Access.from_text(one.to_text()) == one
    assert len(one.token) > 40 and one.token != two.token
    assert one.address("127.0.0.1", 8000) == f"http://127.0.0.1:8000/{one.token}"
    assert one.origins[-1] == "https://a.example"
    assert make_access("127.0.0.1", 80, "off", [], []).address("127.0.0.1", 80) == "http://127.0.0.1:80"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("0.0.0.0", 80, "off", [], []), "--token off with --host 0.0.0.0"),
        (("my-host", 80, "off", [], []), "--token off with --host my-host"),
        (("127.0.0.1", 80, "short", [], []), "expected 16 to 200 letters"),
        (("127.0.0.1", 80, "", [], []), "expected 16 to 200 letters"),
        (("127.0.0.1", 80, "a token with spaces in it", [], []), "expected 16 to 200 letters"),
        (("127.0.0.1", 80, None, [], ["*"]), "--origins"),
        (("127.0.0.1", 80, None, [], ["https://a.example/page"]), "--origins"),
        (("127.0.0.1", 80, None, ["a/b"], []), "--hosts a/b"),
    ],
)
def test_access_that_cannot_be_is_refused(given: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        make_access(*given)
