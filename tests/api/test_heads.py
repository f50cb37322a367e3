"""HEAD: the head of what GET answers, over a real connection, which breaks when the two do not fit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from app.api.application import create_app
from app.api.heads import Heads
from app.settings import Settings
from graph_store.data_dir import DataDir
from tests.api.listening import listening
from tests.shapes import Shape


@pytest.fixture(scope="module")
def server(built_data_dir: DataDir) -> Iterator[httpx.Client]:
    app = create_app(Settings(data=built_data_dir.root))
    with listening(app) as url, httpx.Client(base_url=url) as client:
        yield client


def paths_of(picture: str) -> list[str]:
    of_it = f"/v1/images/{picture}"
    listed = ["/v1/tags?prefix=r", "/v1/index", "/v1/jobs", "/livez", "/readyz", "/openapi.json"]
    return [
        *listed,
        of_it,
        f"{of_it}/file",
        f"{of_it}/thumbnail",
        f"{of_it}/neighbors",
        "/",
        "/static/main.js",
    ]


def test_head_answers_as_get_does_without_the_body(server: httpx.Client, indexed: list[Shape]) -> None:
    for path in paths_of(indexed[0].id):
        whole, head = server.get(path), server.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert whole.content, path
        assert set(head.headers) == set(whole.headers), path
        assert head.headers["content-type"] == whole.headers["content-type"], path
        assert int(head.headers["content-length"]) > 0, path


def test_the_connection_goes_on_after_a_head(server: httpx.Client, indexed: list[Shape]) -> None:
    for _ in range(3):
        assert server.head(f"/v1/images/{indexed[0].id}/thumbnail").status_code == 200
        assert server.get("/livez").json() == {"status": "ok"}


def test_a_head_of_what_is_not_there_says_so_without_words(server: httpx.Client) -> None:
    missing = server.head("/v1/images/nothing-like-it")
    assert (missing.status_code, missing.content) == (404, b"")


def test_a_head_of_what_only_takes_posts_is_refused(server: httpx.Client) -> None:
    refused = server.head("/v1/search")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_heads_are_counted_at_their_routes(server: httpx.Client) -> None:
    server.head("/livez")
    assert 'method="HEAD",route="/livez",status="200"' in server.get("/metrics").text


def test_a_head_of_a_stream_that_never_ends_ends_at_once() -> None:
    app = FastAPI()
    app.add_middleware(Heads)
    left = threading.Event()

    @app.get("/events")
    async def stream() -> StreamingResponse:
        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"data: on\n\n"
                    await asyncio.sleep(0.01)
            finally:
                left.set()

        return StreamingResponse(endless(), media_type="text/event-stream")

    with listening(app) as url:
        answer = httpx.head(f"{url}/events", timeout=10)
        assert (answer.status_code, answer.content) == (200, b"")
        assert left.wait(10), "the server goes on streaming to nobody"
