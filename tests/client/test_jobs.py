"""Jobs by way of the Python client: started once, followed, waited for, stopped."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from app.api.application import create_app
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import AsyncClient, Client, ImsageError
from imsage.connection import stream_timeout
from imsage.job_calls import JobEvents
from tests.api.listening import listening
from tests.client.test_connection import Bytes

JOB = (
    '{"id": "1", "kind": "reindex", "state": "%s", "parameters": {}, "created": "", "started": null,'
    ' "ended": null, "resumable": false, "interrupted": false, "progress": {"phase": "start", "done": 0,'
    ' "total": null, "skipped": 0, "failed": 0, "seconds_left": null}}'
)


@pytest.fixture
def address(built_copy: DataDir) -> Iterator[str]:
    """Where a catalogue is served that may be changed."""
    with listening(create_app(Settings(data=built_copy.root))) as address:
        yield address


def test_a_job_is_started_once_and_followed_to_its_end(address: str) -> None:
    with Client(address) as client:
        started = client.start_reindex(full=True, idempotency_key="tonight")
        again = client.start_reindex(full=True, idempotency_key="tonight")
        states = [job.state for job in client.follow_job(started.id)]
        ended = client.wait_for_job(started.id, timeout=60)

        assert again.id == started.id and states[-1] == ended.state == "succeeded"
        assert ended.result is not None and not ended.active and ended.started
        assert [job.id for job in client.jobs(kind="reindex").jobs] == [started.id]
        with pytest.raises(ImsageError, match="409"):
            client.cancel_job(started.id)


@pytest.mark.asyncio
async def test_a_job_is_stopped_and_taken_up_again_by_the_asynchronous_client(address: str) -> None:
    async with AsyncClient(address) as client:
        training = await client.start_train(preset="paper", epochs=1000)
        with pytest.raises(TimeoutError, match=training.id):
            await client.wait_for_job(training.id, timeout=0)
        await client.cancel_job(training.id)
        assert [job.state async for job in client.follow_job(training.id)][-1] == "canceled"

        resumed = await client.resume_job(training.id)
        await client.cancel_job(resumed.id)
        ended = await client.wait_for_job(resumed.id, timeout=60)
        assert (ended.resumed_from, ended.trigger, ended.cancel_requested) == (training.id, "request", True)


def test_a_stream_that_breaks_is_taken_up_again() -> None:
    bodies = iter(
        [
            f": still here\n\nid: 1\nevent: job\ndata: {JOB % 'processing'}\n\n",
            f"id: 2\nevent: job\ndata: {JOB % 'succeeded'}\n\n",
        ]
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=next(bodies)))
    with Client(transport=transport) as client:
        assert [job.state for job in client.follow_job("1")] == ["processing", "succeeded"]


def test_a_stream_that_always_breaks_is_given_up() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=": still here\n\n"))
    with Client(transport=transport, retries=0) as client, pytest.raises(ImsageError, match="stream ended"):
        list(client.follow_job("1"))


def test_what_is_told_again_when_a_stream_is_taken_up_is_passed_on_once() -> None:
    bodies = iter([JOB % "processing", JOB % "processing", JOB % "succeeded"])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=f"data: {next(bodies)}\n\n"))
    with Client(transport=transport) as client:
        assert [job.state for job in client.follow_job("1")] == ["processing", "succeeded"]


@pytest.mark.asyncio
async def test_the_asynchronous_client_passes_it_on_once_too() -> None:
    bodies = iter([JOB % "processing", JOB % "processing", JOB % "succeeded"])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=f"data: {next(bodies)}\n\n"))
    async with AsyncClient(transport=transport) as client:
        assert [job.state async for job in client.follow_job("1")] == ["processing", "succeeded"]


@pytest.mark.parametrize(("timeout", "read"), [(2.0, 60.0), (300.0, 300.0), (None, None)])
def test_a_stream_may_be_quiet_for_longer_than_an_answer_may_take(
    timeout: float | None, read: float | None
) -> None:
    assert stream_timeout(httpx.Timeout(timeout)).as_dict() == {
        "connect": timeout,
        "read": read,
        "write": timeout,
        "pool": timeout,
    }


def test_a_stream_is_asked_for_with_the_timeout_of_streams() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, text=f"data: {JOB % 'succeeded'}\n\n")

    with Client(transport=httpx.MockTransport(answer), timeout=2) as client:
        list(client.follow_job("1"))

    assert asked[0].extensions["timeout"]["read"] == 60.0


@pytest.mark.parametrize("data", ["no JSON", "3", "{}"])
def test_a_stream_that_is_not_imsages_is_an_error(data: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=f"data: {data}\n\n"))
    with Client(transport=transport) as client, pytest.raises(ImsageError) as error:
        list(client.follow_job("1"))

    assert error.value.title == "Not understood"


@pytest.mark.asyncio
async def test_a_stream_that_is_not_imsages_is_an_error_of_the_asynchronous_client_too() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="data: no JSON\n\n"))
    async with AsyncClient(transport=transport) as client:
        with pytest.raises(ImsageError) as error:
            [job async for job in client.follow_job("1")]

    assert error.value.title == "Not understood"


def test_a_stream_that_cannot_be_unpacked_is_given_up() -> None:
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Bytes(b"no gzip at all"))
    )
    with Client(transport=transport, retries=0) as client, pytest.raises(ImsageError):
        list(client.follow_job("1"))


def test_a_key_is_drawn_for_each_start_that_is_given_none() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(202, text=JOB % "enqueued")

    with Client(transport=httpx.MockTransport(answer)) as client:
        client.start_reindex()
        client.start_train()
        client.resume_job("1")
        client.start_reindex(idempotency_key="tonight")

    assert len(set(keys)) == 4 and keys[3] == "tonight"


@pytest.mark.parametrize("status", [429, 503])
def test_a_stream_that_is_refused_for_now_is_asked_for_again(status: int) -> None:
    answers = iter(
        [
            httpx.Response(status, headers={"retry-after": "0"}, json={"title": "Busy"}),
            httpx.Response(200, text=f"id: 2\nevent: job\ndata: {JOB % 'succeeded'}\n\n"),
        ]
    )
    with Client(transport=httpx.MockTransport(lambda _: next(answers))) as client:
        assert [job.state for job in client.follow_job("1")] == ["succeeded"]


@pytest.mark.asyncio
async def test_the_asynchronous_client_asks_for_a_refused_stream_again() -> None:
    answers = iter(
        [
            httpx.Response(429, headers={"retry-after": "0"}, json={"title": "Busy"}),
            httpx.Response(200, text=f"id: 2\nevent: job\ndata: {JOB % 'succeeded'}\n\n"),
        ]
    )
    async with AsyncClient(transport=httpx.MockTransport(lambda _: next(answers))) as client:
        assert [job.state async for job in client.follow_job("1")] == ["succeeded"]


def test_the_stream_of_a_job_that_is_not_there_is_refused() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404, json={"title": "Not found"}))
    with Client(transport=transport) as client, pytest.raises(ImsageError, match="404"):
        list(client.follow_job("1"))


def test_an_event_may_come_in_several_lines() -> None:
    events = JobEvents()
    first, _, rest = (JOB % "failed").partition(", ")

    assert events.feed(f"data: {first},") is None and events.feed(f"data:{rest}") is None
    job = events.feed("")
    assert job is not None and job.state == "failed"
    assert events.feed("") is None


BAD_KEYS = ["Nacht-\u00fc", "a b", "a\nb", "", "k" * 256]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_an_idempotency_key_that_the_server_would_refuse_is_refused_before_it_is_sent(key: str) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ValueError, match="idempotency_key"):
        client.start_reindex(idempotency_key=key)


@pytest.mark.asyncio
@pytest.mark.parametrize("key", BAD_KEYS)
async def test_the_asynchronous_client_refuses_the_same_idempotency_keys(key: str) -> None:
    async with AsyncClient("http://127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="idempotency_key"):
            await client.resume_job("1", idempotency_key=key)
