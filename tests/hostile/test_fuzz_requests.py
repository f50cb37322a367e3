"""Bodies, forms, cursors and filters without sense: an answer or a problem, never a fault."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from gnn.query import QueryEngine
from graph_store.data_dir import DataDir
from tests.api.conftest import service_of, serving
from tests.copies import copy_of
from tests.hostile.corpus import noise, saved
from tests.hostile.fuzzing import fuzzing

PICTURE = saved(noise(size=(8, 8)), "PNG")
DATA = base64.b64encode(PICTURE).decode()

WORDS = st.sampled_from(
    ["red", "tags", "area", "shape_group", "", "\0", "\ud800", "ü" * 300, "a.b.c", "x" * 5000]
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(
        [0.5, 1.0, 1e308, -1e308, 2**63, 2**64, -(2**63), 10**40, 10**400, float("nan"), float("inf")]
    ),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=20))
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is expected in this place, four times out of five."""
    return st.integers(0, 4).flatmap(lambda turn: JUNK if turn == 0 else good)


def fields(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these fields."""
    return st.fixed_dictionaries({}, optional={name: mostly(value) for name, value in strategies.items()})


RANGES = fields(gt=SCALARS, gte=SCALARS, lt=SCALARS, lte=SCALARS)
CONDITIONS = fields(
    key=st.sampled_from(["tags", "area", "shape_group", "nothing", "a.b"]) | WORDS,
    match=SCALARS,
    any=st.lists(SCALARS, max_size=3),
    range=RANGES,
    exists=st.booleans(),
)
FILTERS = fields(**{name: st.lists(CONDITIONS, max_size=3) for name in ("must", "should", "must_not")})
PICTURES = fields(id=st.just("small-red-star-0") | WORDS, data=st.just(DATA) | st.text(max_size=9), url=WORDS)
TAGS = st.lists(st.just("red") | fields(name=WORDS, weight=NUMBERS), max_size=4)
SEARCHES = fields(
    image=PICTURES | st.lists(PICTURES, max_size=3),
    tags=TAGS,
    text=WORDS,
    attach=st.sampled_from(["auto", "image", "tags", "mixed"]),
    visual_weight=st.floats(0, 1),
    limit=st.integers(-1, 1001),
    cursor=st.text(max_size=30),
    filter=FILTERS,
    score_threshold=NUMBERS,
    diversity=st.floats(0, 1),
    collapse=st.floats(0, 1),
    explain=st.booleans(),
)
CALLS = st.one_of(
    st.tuples(st.just("/v1/search"), SEARCHES),
    st.tuples(st.just("/v1/search/batch"), fields(queries=st.lists(SEARCHES, max_size=3))),
    st.tuples(st.just("/v1/tags/predict"), fields(image=PICTURES, limit=NUMBERS)),
    st.tuples(
        st.just("/v1/images"),
        fields(images=st.lists(fields(id=WORDS, image=PICTURES, tags=TAGS, attributes=JUNK), max_size=2)),
    ),
    st.tuples(st.just("/v1/images/delete"), fields(ids=st.lists(WORDS, max_size=3))),
    st.tuples(st.just("/v1/jobs"), fields(kind=WORDS, preset=WORDS, epochs=NUMBERS)),
)


@pytest.fixture(scope="module")
def client(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on a copy of the drawn catalogue; a fault inside it fails the test by itself."""
    data = tmp_path_factory.mktemp("fuzzed") / "data"
    copy_of(built_data_dir.root, data)
    with serving(data) as started:
        yield started


def check(response: Any) -> None:
    """The answer is one, or a whole problem that is the client's fault."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
    else:
        response.json()


@fuzzing(150)
@given(call=CALLS)
def test_no_body_breaks_a_call(client: TestClient, call: tuple[str, Any]) -> None:
    path, body = call
    text = json.dumps(
        body
    ).encode()  # with NaN, Infinity and halves of surrogate pairs, as Python writes them
    check(client.post(path, content=text, headers={"content-type": "application/json"}))


@fuzzing(60)
@given(path=st.sampled_from(["/v1/search", "/v1/images", "/v1/tags/predict"]), body=st.binary(max_size=300))
def test_no_bytes_break_a_call(client: TestClient, path: str, body: bytes) -> None:
    check(client.post(path, content=body, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"tags":' + "[" * 500, '{"limit":' + "9" * 100_000 + "}"])
def test_depth_and_length_are_refused(client: TestClient, text: str) -> None:
    response = client.post("/v1/search", content=text.encode(), headers={"content-type": "application/json"})
    assert response.status_code == 422
    check(response)


def test_attributes_as_deep_as_a_body_may_be_are_stored_changed_and_told(client: TestClient) -> None:
    for depth in (100, 180, 400):
        attributes = json.loads('{"a":' * depth + "1" + "}" * depth)
        body = {"images": [{"id": "deep", "image": {"data": DATA}, "attributes": attributes}]}
        check(client.post("/v1/images", json=body))
        check(client.patch("/v1/images/deep", json={"attributes": attributes}))
        check(client.get("/v1/images/deep"))
        check(
            client.post(
                "/v1/search",
                json={
                    "image": {"id": "deep"},
                    "filter": {"must": [{"key": "a" + ".a" * 90, "exists": True}]},
                },
            )
        )


def parts_of(cursor: str) -> list[Any]:
    """What a cursor says."""
    parts: list[Any] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[16:])
    return parts


def cursor_with(parts: list[Any], secret: bytes) -> str:
    """A cursor that says this, sealed as the service does it."""
    fields = json.dumps(parts).encode()
    seal = hmac.digest(secret, fields, "sha256")[:16]
    return base64.urlsafe_b64encode(seal + fields).decode().rstrip("=")


def test_a_cursor_that_was_made_up_is_refused(client: TestClient) -> None:
    asked = {"tags": ["red"], "limit": 1}
    parts = parts_of(client.post("/v1/search", json=asked).json()["next_cursor"])
    parts[3] = -1e9  # every picture would rank before it
    response = client.post("/v1/search", json={**asked, "cursor": cursor_with(parts, b"guessed")})
    assert response.status_code == 422 and response.json()["errors"][0]["pointer"] == "/cursor"


def test_a_cursor_below_every_picture_is_answered_after_few_searches(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"tags": ["red"], "limit": 1}
    parts = parts_of(client.post("/v1/search", json=asked).json()["next_cursor"])
    parts[3] = -1e9
    depths: list[int] = []
    search = QueryEngine.search

    def counted(engine: QueryEngine, vectors: Any, weight: float, k: int, *rest: Any, **more: Any) -> Any:
        depths.append(k)
        return search(engine, vectors, weight, k, *rest, **more)

    monkeypatch.setattr(QueryEngine, "search", counted)
    secret = service_of(client).states.current.snapshot.secret
    answer = client.post("/v1/search", json={**asked, "cursor": cursor_with(parts, secret)})
    assert answer.status_code == 200 and answer.json()["hits"] == []
    assert 2 < len(depths) < 20


CURSOR_PARTS = st.one_of(SCALARS, st.lists(st.integers(-1, 2**64), max_size=50))


@fuzzing(80)
@given(changes=st.dictionaries(st.integers(0, 5), CURSOR_PARTS, max_size=3), more=SEARCHES)
def test_no_cursor_breaks_a_search(client: TestClient, changes: dict[int, Any], more: dict[str, Any]) -> None:
    asked = {"tags": ["red"], "limit": 2}
    parts = parts_of(client.post("/v1/search", json=asked).json()["next_cursor"])
    for place, part in changes.items():
        parts[place] = part
    secret = service_of(client).states.current.snapshot.secret
    cursor = cursor_with(parts, secret)
    for body in ({**asked, "cursor": cursor}, {**more, "cursor": cursor}):
        text = json.dumps(body).encode()
        check(client.post("/v1/search", content=text, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("version", ["ü" * 300, "9" * 300 + "-00000000", "../../etc", "\0", ""])
def test_a_cursor_of_a_snapshot_that_there_cannot_be_is_gone(client: TestClient, version: str) -> None:
    asked = {"tags": ["red"], "limit": 2}
    parts = parts_of(client.post("/v1/search", json=asked).json()["next_cursor"])
    forged = cursor_with([version, *parts[1:]], b"")
    response = client.post("/v1/search", json={**asked, "cursor": forged})
    assert response.status_code == 410, response.text
    check(response)


CHARSETS = [
    "utf-8",
    "unicode_escape",
    "raw_unicode_escape",
    "idna",
    "undefined",
    "utf-16",
    "zip",
    "utf-7",
    "\xff",
]


@pytest.mark.parametrize("charset", CHARSETS)
def test_a_form_is_in_utf_8_or_refused(client: TestClient, charset: str) -> None:
    parts = [
        b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PICTURE,
        b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\n{"text": "\\ud800"}',
        b"--B--\r\n",
    ]
    header = b"multipart/form-data; boundary=B; charset=" + charset.encode("latin-1")
    response = client.post("/v1/search/upload", content=b"\r\n".join(parts), headers={"content-type": header})
    assert response.status_code == (422 if charset == "utf-8" else 415)
    check(response)


LINES = st.one_of(
    st.sampled_from(
        [
            b"--B",
            b"--B--",
            b"",
            b'Content-Disposition: form-data; name="image"; filename="a"',
            b'Content-Disposition: form-data; name="query"',
            b"Content-Disposition: form-data; name*=utf-8''image; filename*=utf-16''%ff%fe",
            b"Content-Transfer-Encoding: base64",
            b"Content-Type: image/png; charset=idna",
            PICTURE,
            b'{"tags": ["red"]}',
        ]
    ),
    st.binary(max_size=40),
)
HEADERS = st.sampled_from(
    [
        b"multipart/form-data; boundary=B",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary="B"; boundary=C',
        b"multipart/form-data; boundary=" + b"B" * 3000,
        b"multipart/form-data; boundary*=utf-8''B",
        b"MULTIPART/FORM-DATA; BOUNDARY=B;;;",
    ]
)


@fuzzing(100)
@given(lines=st.lists(LINES, max_size=12), header=HEADERS)
def test_no_form_breaks_an_upload(client: TestClient, lines: list[bytes], header: bytes) -> None:
    check(client.post("/v1/search/upload", content=b"\r\n".join(lines), headers={"content-type": header}))


@fuzzing(60)
@given(
    path=st.sampled_from(
        ["/v1/images/", "/v1/tags?prefix=", "/v1/jobs/", "/v1/jobs?cursor=", "/static/", "/"]
    ),
    rest=st.lists(
        st.sampled_from(
            ["..", "%2e%2e", "/", "%2F", "%00", "%0a", "%ff", "%", "a", "?", "file", "%5c", "//"]
        ),
        max_size=8,
    ),
    method=st.sampled_from(["GET", "HEAD", "DELETE", "PATCH", "POST", "PUT", "OPTIONS"]),
)
def test_no_path_breaks_a_call_or_leads_out(
    client: TestClient, path: str, rest: list[str], method: str
) -> None:
    response = client.request(method, "http://localhost" + path + "".join(rest), follow_redirects=False)
    assert response.status_code < 500
    assert b"root:x:0" not in response.content
