"""What the client does when the server is busy, away, or not imsage; and what it does not load."""

from __future__ import annotations

import datetime
import email.utils
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from imsage import AsyncClient, Client, ImsageError
from imsage.answers import Answer
from imsage.connection import DEFAULT_TIMEOUT
from imsage.reading import read
from imsage.retrying import Retries

ANSWER = {
    "hits": [],
    "attach": "tags",
    "index_version": "1",
    "took_ms": {"total": 1},
    "next_cursor": None,
    "news": "of a newer server",
}


class Bytes(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body as it comes from the network, still to be unpacked."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def busy(
    times: int,
    status: int = 503,
    wait: str = "0",
    kind: str = "too-busy",
    then: Mapping[str, Any] = ANSWER,
) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A server that is busy so many times before it answers `then`, and what it was asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) <= times:
            problem = {"type": f"urn:imsage:problem:{kind}", "title": "Busy", "status": status}
            return httpx.Response(status, headers={"Retry-After": wait}, json=problem)
        return httpx.Response(200, json=then)

    return httpx.MockTransport(answer), asked


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    transport, asked = busy(2, status)
    with Client(transport=transport) as client:
        assert client.search(tags=["red"]).attach == "tags"

    assert len(asked) == 3 and asked[0].content == asked[2].content


@pytest.mark.asyncio
async def test_a_busy_server_is_asked_again_by_the_asynchronous_client() -> None:
    transport, asked = busy(1)
    async with AsyncClient(transport=transport) as client:
        await client.search(tags=["red"])

    assert len(asked) == 2


def test_a_server_that_stays_busy_is_given_up() -> None:
    transport, asked = busy(99)
    with Client(transport=transport, retries=2) as client, pytest.raises(ImsageError) as error:
        client.search(tags=["red"])

    assert error.value.status == 503 and len(asked) == 3


def test_a_server_that_is_busy_for_long_is_not_waited_for() -> None:
    transport, asked = busy(1, wait="3600")
    with Client(transport=transport) as client, pytest.raises(ImsageError):
        client.search(tags=["red"])

    assert len(asked) == 1


CHANGES: list[Callable[[Client], object]] = [
    lambda client: client.upsert([{"id": "a", "image": b"a"}]),
    lambda client: client.update("a", tags=["red"]),
    lambda client: client.delete(["a"]),
    lambda client: client.start_reindex(),
    lambda client: client.start_train(),
    lambda client: client.resume_job("1"),
    lambda client: client.cancel_job("1"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_the_server_gave_up_on_in_the_middle_is_not_made_twice(
    change: Callable[[Client], object],
) -> None:
    transport, asked = busy(1, kind="timeout")
    with Client(transport=transport) as client, pytest.raises(ImsageError, match="503"):
        change(client)

    assert len(asked) == 1


def test_a_search_that_took_the_server_too_long_is_asked_again() -> None:
    transport, asked = busy(1, kind="timeout")
    with Client(transport=transport) as client:
        client.search(tags=["red"])

    assert len(asked) == 2


@pytest.mark.parametrize("kind", ["too-busy", "too-many-requests"])
def test_a_change_that_was_refused_before_anything_was_done_is_asked_for_again(kind: str) -> None:
    transport, asked = busy(1, kind=kind, then={"results": [], "deleted": 0, "missing": 0})
    with Client(transport=transport) as client:
        client.delete(["a"])

    assert len(asked) == 2


def test_a_client_waits_longer_than_the_server_takes_for_an_answer() -> None:
    assert Settings().request_timeout < DEFAULT_TIMEOUT


@pytest.mark.parametrize("status", [400, 404, 409, 500, 507])
def test_other_errors_are_raised_at_once(status: int) -> None:
    transport, asked = busy(1, status)
    with Client(transport=transport) as client, pytest.raises(ImsageError):
        client.search(tags=["red"])

    assert len(asked) == 1


def test_a_server_that_is_not_ready_is_told_at_once() -> None:
    transport, asked = busy(1)
    with Client(transport=transport) as client, pytest.raises(ImsageError):
        client.ready()

    assert len(asked) == 1


def response(wait: str | None) -> httpx.Response:
    return httpx.Response(429, headers={} if wait is None else {"Retry-After": wait})


def test_the_pause_is_the_one_that_the_server_names() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=20)
    by_date = Retries().pause(response(email.utils.format_datetime(later, usegmt=True)), 0)

    assert Retries().pause(response("7"), 0) == 7
    assert by_date is not None and 15 < by_date <= 20


def test_the_pause_doubles_where_the_server_names_none() -> None:
    pauses = [Retries().pause(response(wait), attempt) for attempt, wait in enumerate([None, "soon", "-1"])]

    for attempt, pause in enumerate(pauses):
        assert pause is not None and 0.25 * 2**attempt <= pause <= 0.75 * 2**attempt


def test_a_key_is_sent_as_a_bearer_token() -> None:
    transport, asked = busy(0)
    with Client(transport=transport, api_key="secret") as client:
        client.search(tags=["red"])

    assert asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("given", ["secret\n", " secret\r\n", "\tsecret"])
def test_what_surrounds_a_key_that_was_read_from_a_file_is_not_sent(given: str) -> None:
    transport, asked = busy(0)
    with Client(transport=transport, api_key=given) as client:
        client.search(tags=["red"])

    assert asked[0].headers["authorization"] == "Bearer secret"


def test_an_empty_key_is_none() -> None:
    transport, asked = busy(0)
    with Client(transport=transport, api_key="\n") as client:
        client.search(tags=["red"])

    assert "authorization" not in asked[0].headers


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("given", ["secret\nsecret", "secret secret", "s\u00e9cret", "secret\0"])
def test_what_can_be_no_key_is_refused_at_once_and_not_repeated(
    client: type[Client] | type[AsyncClient], given: str
) -> None:
    with pytest.raises(ValueError, match="api_key") as refused:
        client(api_key=given)

    assert "cret" not in str(refused.value)


def test_a_request_that_cannot_be_sent_is_told_without_its_headers() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError("Illegal header value b'Bearer secret'", request=request)

    with Client(transport=httpx.MockTransport(refuse)) as client, pytest.raises(ImsageError) as error:
        client.index()

    assert error.value.status == 0 and "was not sent" in error.value.detail
    assert "secret" not in str(error.value)


def test_a_server_that_is_away_is_an_error_with_its_address() -> None:
    with Client("http://127.0.0.1:9", timeout=5) as client, pytest.raises(ImsageError) as error:
        client.index()

    assert error.value.status == 0 and "http://127.0.0.1:9/v1/index" in str(error.value)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx.Response(200, text="<html>welcome</html>"),
        lambda _: httpx.Response(200, json={"hits": 3}),
        lambda _: httpx.Response(200, json={**ANSWER, "took_ms": {"total": "quick"}}),
        lambda _: httpx.Response(502, text="<html>bad gateway</html>"),
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Bytes(b"no gzip at all")),
    ],
)
def test_what_is_no_imsage_server_is_an_error_too(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    with Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(ImsageError) as error:
        client.search(tags=["red"])

    assert error.value.detail


@pytest.mark.asyncio
async def test_what_cannot_be_unpacked_is_an_error_of_the_asynchronous_client_too() -> None:
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Bytes(b"no gzip at all"))
    )
    async with AsyncClient(transport=transport) as client:
        with pytest.raises(ImsageError):
            await client.index()


def test_what_a_newer_server_adds_is_left_out() -> None:
    answer = read(Answer, ANSWER)

    assert answer.took_ms == {"total": 1.0} and not hasattr(answer, "news")


def test_importing_the_client_loads_no_server_and_no_numbers() -> None:
    root = Path(__file__).parents[2]
    program = "import sys, imsage; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )

    heavy = {"app", "gnn", "graph_store", "torch", "faiss", "numpy", "fastapi", "pydantic", "PIL", "typer"}
    assert not heavy & set(done.stdout.split())
