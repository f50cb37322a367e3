"""Parts of picture files: one good range is served, one beyond is refused, all else gets the whole."""

from __future__ import annotations

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import problem
from tests.shapes import Shape

PARTS = ("file", "thumbnail")


def picture(client: TestClient, shape: Shape, part: str, **headers: str) -> httpx.Response:
    """The answer of `GET /v1/images/{id}/{part}`; `headers` with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(f"/v1/images/{shape.id}/{part}", headers=named)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=2-", "bytes=-5", "Bytes= 1-1 ", "bytes=0-999999999"])
def test_one_range_is_served(client: TestClient, indexed: list[Shape], part: str, asked: str) -> None:
    whole = picture(client, indexed[0], part).content
    answer = picture(client, indexed[0], part, range=asked)
    assert answer.status_code == 206
    told, of = answer.headers["content-range"].removeprefix("bytes ").split("/")
    first, last = (int(place) for place in told.split("-"))
    assert answer.content == whole[first : last + 1] and int(of) == len(whole)
    assert answer.headers["etag"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=999999999-9999999999", "bytes=-0"])
def test_a_range_beyond_the_file_is_a_problem_that_tells_its_length(
    client: TestClient, indexed: list[Shape], part: str, asked: str
) -> None:
    size = len(picture(client, indexed[0], part).content)
    answer = picture(client, indexed[0], part, range=asked)
    problem(answer, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "lines=0-3",
        "bytes=0-3,8-9",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_what_is_not_one_range_gets_the_whole(
    client: TestClient, indexed: list[Shape], part: str, asked: str
) -> None:
    answer = picture(client, indexed[0], part, range=asked)
    assert answer.status_code == 200
    assert answer.content == picture(client, indexed[0], part).content


def test_a_range_of_the_picture_before_gets_the_whole_of_this_one(
    client: TestClient, indexed: list[Shape]
) -> None:
    etag = picture(client, indexed[0], "thumbnail").headers["etag"]
    same = picture(client, indexed[0], "thumbnail", range="bytes=0-3", if_range=etag)
    other = picture(client, indexed[0], "thumbnail", range="bytes=0-3", if_range='"t-another"')
    assert (same.status_code, other.status_code) == (206, 200)
    assert same.content == b"RIFF" and len(other.content) > 4


@pytest.mark.parametrize("path", ["/", "/jobs", "/static/main.js"])
@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=999999999-", "lines=1-2"])
def test_the_page_comes_whole(client: TestClient, path: str, asked: str) -> None:
    answer = client.get(path, headers={"range": asked})
    assert answer.status_code == 200
    assert answer.content == client.get(path).content
