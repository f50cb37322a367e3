"""Limits: of time, of calls at once, of calls a second; and which pages may call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.application import create_app
from app.api.limits import Limits, Rate
from app.keys import create_key
from app.settings import Settings
from graph_store.data_dir import DataDir
from tests.api.conftest import problem, serving
from tests.api.listening import listening
from tests.api.test_snapshot_swap import wait_until

SEARCH = {"tags": ["red"], "limit": 1}


async def asked(
    app: Any,
    method: str = "POST",
    path: str = "/v1/search",
    client: tuple[str, int] | None = ("192.0.2.1", 5),
) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of one answer of a plain ASGI application. client: address and port."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": [], "client": client}
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0].get("headers", ()))


class Held:
    """An application that answers when it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.release()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


# -- how many at once


@pytest.mark.asyncio
async def test_more_calls_than_allowed_are_told_at_once_to_come_again() -> None:
    held = Held()
    limits = Limits(held, seconds=60, at_once=2, rate=0)
    waiting = [asyncio.create_task(asked(limits)) for _ in range(2)]
    for _ in waiting:
        await held.entered.acquire()
    status, headers = await asked(limits)
    assert status == 503 and headers[b"retry-after"] == b"1"
    held.go.set()
    assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]
    assert (await asked(limits))[0] == 200


@pytest.mark.asyncio
async def test_looking_and_probing_go_on_while_the_service_is_busy() -> None:
    held = Held()
    limits = Limits(held, seconds=60, at_once=1, rate=0)
    waiting = asyncio.create_task(asked(limits))
    await held.entered.acquire()
    others = [asyncio.create_task(asked(limits, "GET", path)) for path in ("/v1/index", "/livez")]
    for _ in others:
        await held.entered.acquire()
    held.go.set()
    assert [status for status, _ in await asyncio.gather(waiting, *others)] == [200, 200, 200]


# -- how long


@pytest.mark.asyncio
async def test_an_answer_that_does_not_begin_in_time_is_refused() -> None:
    limits = Limits(Held(), seconds=0.05, at_once=9, rate=0)
    status, headers = await asked(limits)
    assert status == 503 and headers[b"retry-after"] == b"5"


@pytest.mark.asyncio
async def test_an_answer_that_has_begun_may_go_on() -> None:
    first_sent = asyncio.Event()

    async def long_answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        first_sent.set()
        await asyncio.sleep(0.2)  # longer than the limit
        await send({"type": "http.response.body", "body": b""})

    assert (await asked(Limits(long_answer, seconds=0.05, at_once=9, rate=0)))[0] == 200
    assert first_sent.is_set()


@pytest.mark.asyncio
async def test_a_timeout_inside_a_call_is_not_taken_for_the_limit() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await asked(Limits(broken, seconds=60, at_once=9, rate=0))


# -- how often


@given(rate=st.floats(0.2, 100), seconds=st.floats(0.1, 100))
def test_over_time_a_client_gets_its_rate_and_one_burst(rate: float, seconds: float) -> None:
    limiter, now, passed = Rate(rate), 0.0, 0
    while now < seconds and passed < 3000:
        wait = limiter.wait("a", now)
        now += wait
        passed += not wait
        if wait:
            assert limiter.wait("b", now) >= 0.0
    assert passed <= rate * (now + 10) + 2
    assert limiter.wait("never seen", now) == 0.0


def test_a_burst_is_let_through_and_then_held_to_the_rate() -> None:
    limiter = Rate(2.0)
    assert [limiter.wait("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert limiter.wait("a", 0.0) == pytest.approx(0.5)
    assert limiter.wait("b", 0.0) == 0.0
    assert limiter.wait("a", 0.5) == 0.0


@pytest.mark.asyncio
async def test_clients_are_told_apart_by_their_address_and_not_by_their_connection() -> None:
    answering = Held()
    answering.go.set()
    limits = Limits(answering, seconds=60, at_once=9, rate=1e-3)  # one call, and then none for long
    connections = [("192.0.2.1", 5), ("192.0.2.1", 6), ("192.0.2.2", 5), ("192.0.2.2", 6), None, None]
    answers = [(await asked(limits, client=client))[0] for client in connections]
    assert answers == [200, 429, 200, 429, 200, 429]


def test_clients_without_number_do_not_fill_the_memory() -> None:
    limiter = Rate(1.0)
    for number in range(25_000):
        limiter.wait(str(number), number * 1e-6)
    assert len(limiter._paid_back) <= 10_000


def test_a_client_that_asks_too_often_is_told_when_to_come_again(built_data_dir: DataDir) -> None:
    with serving(built_data_dir.root, rate_limit=0.2) as client:
        assert [client.post("/v1/search", json=SEARCH).status_code for _ in range(2)] == [200, 200]
        refused = client.post("/v1/search", json=SEARCH)
        problem(refused, 429, "too-many-requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert client.get("/livez").status_code == 200


def test_each_key_has_a_rate_of_its_own(built_copy: DataDir) -> None:
    keys = [create_key(built_copy, name, "read") for name in ("a", "b")]
    with serving(built_copy.root, rate_limit=0.1) as client:

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return client.post("/v1/search", json=SEARCH, headers=headers).status_code

        assert [status(keys[0]), status(keys[0]), status(keys[1])] == [200, 429, 200]


# -- the service as it is served


@contextmanager
def half_a_search(address: str) -> Iterator[tuple[HTTPConnection, bytes]]:
    """A search of which only the beginning has been sent; with it the rest."""
    url = httpx.URL(address)
    body = json.dumps(SEARCH).encode()
    connection = HTTPConnection(url.host, url.port, timeout=60)
    connection.putrequest("POST", "/v1/search")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:1])
    try:
        yield connection, body[1:]
    finally:
        connection.close()


def test_a_service_that_is_asked_too_much_at_once_says_when_to_come_again(built_data_dir: DataDir) -> None:
    app = create_app(Settings(data=built_data_dir.root, max_concurrent=1))
    with (
        listening(app) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
        half_a_search(address) as (waiting, rest),
    ):
        wait_until(lambda: client.post("/v1/search", json=SEARCH).status_code == 503)
        refused = client.post("/v1/search", json=SEARCH)
        looked = client.get("/v1/index")
        waiting.send(rest)
        answered = waiting.getresponse().status
        afterwards = client.post("/v1/search", json=SEARCH)

    assert "max_concurrent" in problem(refused, 503, "too-busy")["detail"]
    assert refused.headers["retry-after"] == "1"
    assert [looked.status_code, answered, afterwards.status_code] == [200, 200, 200]


def test_a_call_that_takes_too_long_is_ended_and_told_when_to_come_again(built_data_dir: DataDir) -> None:
    app = create_app(Settings(data=built_data_dir.root, request_timeout=0.3))
    with listening(app) as address, half_a_search(address) as (waiting, _):
        ended = waiting.getresponse()
        told = json.loads(ended.read())

    assert (ended.status, ended.headers["retry-after"]) == (503, "5")
    assert told["type"] == "urn:imsage:problem:timeout" and "request_timeout" in told["detail"]


# -- other pages

ORIGIN = {"origin": "https://shop.example"}
PREFLIGHT = {**ORIGIN, "access-control-request-method": "POST"}


def test_other_pages_may_not_call_by_default(client: TestClient) -> None:
    answer = client.post("/v1/search", json=SEARCH, headers=ORIGIN)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options("/v1/search", headers=PREFLIGHT).status_code == 405


def test_pages_of_the_listed_origins_may_call(built_copy: DataDir) -> None:
    create_key(built_copy, "shop", "read")
    with serving(built_copy.root, cors_origins="https://shop.example, http://localhost:3000") as client:
        asked_first = client.options(
            "/v1/search",
            headers={**PREFLIGHT, "access-control-request-headers": "authorization, content-type"},
        )
        assert asked_first.status_code == 200
        assert asked_first.headers["access-control-allow-origin"] == ORIGIN["origin"]
        # A refusal can be read by the page as well.
        refused = client.post("/v1/search", json=SEARCH, headers=ORIGIN)
        problem(refused, 401, "unauthorized")
        assert refused.headers["access-control-allow-origin"] == ORIGIN["origin"]
        other = client.post("/v1/search", json=SEARCH, headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
