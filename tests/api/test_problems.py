"""Every error is a whole RFC 9457 problem that points at what is wrong."""

from __future__ import annotations

import errno
import json
import tempfile
import time
import tracemalloc
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.bodies import parse
from app.api.schemas import MOST_VALUES, BatchRequest, SearchRequest
from app.request_errors import InvalidRequest
from graph_store.data_dir import DataDir
from tests.api.conftest import png, problem, serving
from tests.shapes import Shape

BAD_BODIES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"tags": []}, ""),
    ({"tags": ["red"], "visual_weight": 1.01}, "/visual_weight"),
    ({"tags": ["red"], "visual_weight": -0.1}, "/visual_weight"),
    ({"tags": ["red"], "visual_weight": "0.5"}, "/visual_weight"),
    ({"tags": ["red"], "limit": 0}, "/limit"),
    ({"tags": ["red"], "limit": 1001}, "/limit"),
    ({"tags": ["red"], "limit": 1.5}, "/limit"),
    ({"tags": ["red"], "colour": "blue"}, "/colour"),
    ({"tags": ["red"], "attach": "none"}, "/attach"),
    ({"tags": ["red"], "diversity": 2}, "/diversity"),
    ({"tags": ["red"], "explain": "yes"}, "/explain"),
    ({"tags": ["red"], "score_threshold": None}, ""),
    ({"tags": [""]}, "/tags/0"),
    ({"tags": ["red", "x" * 301]}, "/tags/1"),
    ({"tags": [{"name": " "}]}, "/tags/0/name"),
    ({"tags": [{"name": "red", "weight": 1e9}]}, "/tags/0/weight"),
    ({"tags": [{"name": "red", "wait": 1}]}, "/tags/0/wait"),
    ({"tags": [3]}, "/tags/0"),
    ({"text": "  "}, "/text"),
    ({"image": {}}, "/image"),
    ({"image": {"id": "a", "url": "http://b"}}, "/image"),
    ({"image": {"id": None}}, "/image"),
    ({"image": {"id": "a", "size": 3}}, "/image/size"),
    ({"image": "a"}, "/image"),
    ({"tags": ["red"], "filter": {"must": [{"key": "year"}]}}, "/filter/must/0"),
    ({"tags": ["red"], "filter": {"must": [{"key": "year", "match": 1, "any": [1]}]}}, "/filter/must/0"),
    ({"tags": ["red"], "filter": {"must": [{"key": "year", "match": {}}]}}, "/filter/must/0/match"),
    ({"tags": ["red"], "filter": {"must": [{"key": "year", "range": {}}]}}, "/filter/must/0/range"),
    ({"tags": ["red"], "filter": {"must": [{"key": "y", "match": 10**400}]}}, "/filter/must/0/match"),
    ({"tags": ["red"], "filter": {"must": [{"key": "y", "any": [10**400]}]}}, "/filter/must/0/any/0"),
    (
        {"tags": ["red"], "filter": {"must": [{"key": "y", "range": {"lt": 10**400}}]}},
        "/filter/must/0/range/lt",
    ),
    (
        {"tags": ["red"], "filter": {"must": [{"key": "y", "range": {"gt": 1, "lt": "b"}}]}},
        "/filter/must/0/range",
    ),
    ({"tags": ["red"], "filter": {"must": [{"key": "tags", "range": {"gt": 1}}]}}, "/filter/must/0"),
    ({"tags": ["red"], "filter": {"must": [{"key": "tags", "match": 1}]}}, "/filter/must/0"),
    ({"tags": ["red"], "filter": {"must": [{"key": "tags", "match": " "}]}}, "/filter/must/0"),
    ({"tags": ["red"], "filter": {"should": [{"key": "tags", "any": ["a", "x" * 301]}]}}, "/filter/should/0"),
    ({"tags": ["red"], "filter": {"may": []}}, "/filter/may"),
    ({"tags": ["red"], "cursor": "x"}, "/cursor"),
]


@pytest.mark.parametrize(("body", "pointer"), BAD_BODIES, ids=[str(body)[:60] for body, _ in BAD_BODIES])
def test_a_wrong_field_is_pointed_at(client: TestClient, body: dict[str, Any], pointer: str) -> None:
    answer = problem(client.post("/v1/search", json=body), 422, "invalid-request")
    assert pointer in [error["pointer"] for error in answer["errors"]]
    assert answer["instance"] == "/v1/search"


JSON_TYPE = {"content-type": "application/json"}


def unknown_fields(number: int) -> bytes:
    return json.dumps({f"{n:x}": 0 for n in range(number)}).encode()


def batch_of(conditions: int, value: str, key: str = "a") -> bytes:
    """A batch whose filters hold so many conditions, with a thousand values each."""
    condition = f'{{"key":"{key}","any":[{",".join([value] * 1000)}]}}'
    query = '{{"tags":["red"],"filter":{{"must":[{}]}}}}'
    most = [min(100, conditions - first) for first in range(0, conditions, 100)]
    queries = ",".join(query.format(",".join([condition] * number)) for number in most)
    return f'{{"queries":[{queries}]}}'.encode()


def test_of_many_wrong_parts_a_hundred_are_named_and_the_others_counted(client: TestClient) -> None:
    response = client.post("/v1/search", content=unknown_fields(300), headers=JSON_TYPE)
    errors = problem(response, 422, "invalid-request")["errors"]
    assert [wrong["pointer"] for wrong in errors[:100]] == [f"/{n:x}" for n in range(100)]
    assert len(errors) == 101 and errors[100]["detail"] == "200 more parts are wrong"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/search", unknown_fields(40_000)),
        ("/v1/search/batch", batch_of(24, "[]")),
        ("/v1/search/batch", batch_of(60, "[]")),
        ("/v1/search", b'{"x":[' + b"[]," * 200_000 + b"[]]}"),
    ],
    ids=["unknown fields", "values that are none", "more of them", "lists in a list"],
)
def test_a_body_that_is_all_wrong_is_answered_shortly(client: TestClient, path: str, body: bytes) -> None:
    response = client.post(path, content=body, headers=JSON_TYPE)
    assert len(problem(response, 422, "invalid-request")["errors"]) <= 101
    assert len(response.content) < 100_000


def test_a_body_that_is_all_wrong_takes_little_memory() -> None:
    body = batch_of(24, "[]")
    tracemalloc.start(1)
    try:
        with pytest.raises(InvalidRequest):
            parse(body, BatchRequest)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(body)


def test_many_wrong_parameters_of_an_address_are_not_all_named(client: TestClient) -> None:
    response = client.get("/v1/tags", params={f"p{n}": "" for n in range(300)})
    assert len(problem(response, 422, "invalid-request")["errors"]) == 101


def test_what_a_question_may_hold_in_all_has_a_limit_that_is_named(client: TestClient) -> None:
    response = client.post("/v1/search/batch", content=batch_of(300, "1"), headers=JSON_TYPE)
    errors = problem(response, 422, "invalid-request")["errors"]
    assert len(errors) == 1 and errors[0]["pointer"] == "" and f"{MOST_VALUES:,}" in errors[0]["detail"]
    parts = {"image": ("a.png", b"x"), "query": ("q", b"[" + b"0," * MOST_VALUES + b"0]")}
    refused = problem(client.post("/v1/search/upload", files=parts), 422)
    assert [wrong["pointer"] for wrong in refused["errors"]] == ["#form/query"]


@pytest.mark.parametrize("text", ["," * 60_000, '\\",[{' * 60_000, "\\\\" + "[" * 60_000])
def test_what_stands_in_a_string_counts_as_one_value(text: str) -> None:
    body = f'{{"tags": ["red"], "filter": {{"must": [{{"key": "a", "match": "{text}"}}]}}}}'.encode()
    read = parse(body, SearchRequest)
    assert read.filter is not None and read.filter.must[0].match == json.loads(f'"{text}"')


def test_the_largest_batch_that_is_let_through_is_read_at_once() -> None:
    body = batch_of(49, '"\u00e9\u0301"', "tags")
    begin = time.process_time()
    parse(body, BatchRequest)
    assert time.process_time() - begin < 1


def test_a_write_may_hold_more_than_a_question(client: TestClient) -> None:
    told = client.patch("/v1/images/nothing", json={"attributes": {"a": [0] * (MOST_VALUES + 1)}})
    problem(told, 404, "not-found")


def test_a_wrong_tag_to_store_is_pointed_at_where_the_request_has_it(client: TestClient) -> None:
    image = {"id": "a", "image": {"data": ""}, "tags": ["red", "  "]}
    stored = problem(client.post("/v1/images", json={"images": [image]}), 422, "invalid-request")
    assert [error["pointer"] for error in stored["errors"]] == ["/images/0/tags/1"]
    named = problem(client.patch("/v1/images/a", json={"tags": [{"name": "  "}, "  "]}), 422)
    assert [error["pointer"] for error in named["errors"]] == ["/tags/0/name", "/tags/1"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"a"', b"\xff", b'{"visual_weight": NaN, "tags": ["a"]}']
)
def test_what_is_no_json_object_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/search", content=body, headers={"content-type": "application/json"})
    problem(response, 422, "invalid-request")


def test_a_tag_that_is_no_unicode_is_refused(client: TestClient) -> None:
    response = client.post(
        "/v1/search", content=b'{"tags": ["\\ud800"]}', headers={"content-type": "application/json"}
    )
    problem(response, 422)


def test_a_body_of_another_type_is_refused(client: TestClient) -> None:
    response = client.post("/v1/search", content=b"{}", headers={"content-type": "text/plain"})
    problem(response, 415, "unsupported-media-type")
    problem(client.post("/v1/search/upload", json={}), 415, "unsupported-media-type")


def test_a_path_that_is_not_there_and_a_method_that_is_not_possible(client: TestClient) -> None:
    assert problem(client.get("/v2/nothing"), 404, "not-found")["instance"] == "/v2/nothing"
    refused = client.get("/v1/search")
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs/"), ("POST", "/v1/search/"), ("GET", "/static")])
def test_a_path_with_a_slash_too_many_or_too_few_leads_nowhere(
    client: TestClient, method: str, path: str
) -> None:
    problem(client.request(method, path, follow_redirects=False), 404, "not-found")


def test_a_file_of_the_page_can_only_be_looked_at(client: TestClient) -> None:
    refused = client.post("/static/main.js")
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET, HEAD"


def test_query_parameters_are_checked_as_well(client: TestClient) -> None:
    body = problem(client.get("/v1/tags", params={"limit": "many"}), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "#query/limit"
    body = problem(client.get("/v1/tags", params={"prefx": "a"}), 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "#query/prefx"


def test_an_upload_with_wrong_parts_is_pointed_at(client: TestClient) -> None:
    def pointers(**request: Any) -> list[str]:
        answer = problem(client.post("/v1/search/upload", **request), 422)
        return [error["pointer"] for error in answer["errors"]]

    picture = ("a.png", b"no picture", "image/png")
    assert pointers(files={"query": ("q", b"{}")}) == ["#form/image"]
    assert pointers(files={"image": picture}) == ["#form/image"]
    assert pointers(files={"image": picture, "extra": picture}) == ["#form/extra"]
    assert pointers(files={"image": picture}, data={"query": '{"limit": 0}'}) == ["#form/query/limit"]
    assert pointers(files={"image": picture}, data={"query": '{"image": {"id": "a"}}'}) == [
        "#form/query/image"
    ]


def test_what_an_upload_asks_beside_its_picture_is_pointed_at_in_the_form(
    client: TestClient, indexed: list[Shape]
) -> None:
    picture = {"image": ("a.png", png(indexed[0]), "image/png")}
    refused = client.post("/v1/search/upload", files=picture, data={"query": '{"cursor": "none"}'})
    assert [wrong["pointer"] for wrong in problem(refused, 422)["errors"]] == ["#form/query/cursor"]


def test_an_upload_needs_no_room_on_the_disk(
    client: TestClient, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    # As large as what such forms would be written to a file for; what follows a picture is not looked at.
    large = png(indexed[0]) + bytes(3 * 2**20)
    response = client.post("/v1/search/upload", files={"image": ("large.png", large)})
    assert response.status_code == 200, response.text


def test_a_broken_form_is_refused(client: TestClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = client.post("/v1/search/upload", content=b"--y\r\nnonsense", headers=headers)
    assert response.status_code in (400, 422)
    problem(response, response.status_code)


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(built_data_dir: DataDir) -> None:
    with serving(built_data_dir.root, max_body_bytes=2048) as client:
        body = b'{"text": "' + b"a" * 4000 + b'"}'
        headers = {"content-type": "application/json"}
        problem(client.post("/v1/search", content=body, headers=headers), 413, "body-too-large")
        in_pieces = iter([body[:1500], body[1500:]])
        problem(client.post("/v1/search", content=in_pieces, headers=headers), 413, "body-too-large")
        upload = client.post("/v1/search/upload", files={"image": ("a.png", b"a" * 4000, "image/png")})
        problem(upload, 413, "body-too-large")


def test_a_picture_over_the_limits_is_refused(built_data_dir: DataDir) -> None:
    import base64
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    body = {"image": {"data": base64.b64encode(buffer.getvalue()).decode()}}
    with serving(built_data_dir.root, max_image_pixels=1024) as client:
        answer = problem(client.post("/v1/search", json=body), 422, "bad-input")
        assert answer["errors"][0]["pointer"] == "/image/data"


def test_before_there_is_anything_to_serve_the_service_says_so(tmp_path: Any) -> None:
    with serving(tmp_path) as client:
        for response in (
            client.post("/v1/search", json={"tags": ["a"]}),
            client.get("/v1/index"),
            client.get("/readyz"),
            client.get("/v1/tags"),
            client.get("/v1/images/a"),
        ):
            problem(response, 503, "nothing-to-serve")
            assert response.headers["retry-after"]
        assert client.get("/livez").json() == {"status": "ok"}
        assert client.get("/").status_code == 200


def test_an_unexpected_fault_is_a_problem_without_inner_details(
    built_data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.api.conftest import service_of

    async def broken(request: object) -> bytes:
        raise RuntimeError("secret inner detail")

    with serving(built_data_dir.root) as client:
        # The fault is put in from outside: no request is known to cause one.
        monkeypatch.setattr(service_of(client), "search", broken)
        response = client.post("/v1/search", json={"tags": ["red"]})
    body = problem(response, 500, "internal-error")
    assert "secret" not in response.text and response.headers["x-request-id"]
    assert "log" in body["detail"]
