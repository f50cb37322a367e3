"""Server-sent events of a job: what is sent, and when it ends."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.api.stopping import Stopping
from app.jobs import events as events_module
from app.jobs.events import event_of, events
from app.jobs.job import Job, JobProgress

JOB = Job(1, "000001-ab", "reindex", {"full": False}, "processing", created="2026-01-01T00:00:00.000+00:00")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_POLL_SECONDS", 0)


def collected(looks: list[Job], stopping: Callable[[], bool] = lambda: False) -> list[bytes]:
    """Everything that is sent when the job is, look by look, `looks`."""
    left = iter(looks[1:])

    async def look() -> Job:
        return next(left)

    async def collect() -> list[bytes]:
        return [part async for part in events(looks[0], look, stopping)]

    return asyncio.run(collect())


def test_an_event_holds_the_job_under_the_number_of_its_revision() -> None:
    number, name, data, *end = event_of(JOB).decode().split("\n")

    assert (number, name, end) == ("id: 1", "event: job", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == JOB.to_dict()


def test_each_change_is_sent_once_until_the_job_has_ended() -> None:
    further = replace(JOB, revision=2, progress=JobProgress("embed", 3, 9))
    done = replace(JOB, revision=3, state="succeeded")

    assert collected([JOB, JOB, further, further, done]) == [event_of(JOB), event_of(further), event_of(done)]


def test_a_job_that_has_ended_is_sent_once() -> None:
    done = replace(JOB, state="canceled")

    assert collected([done]) == [event_of(done)]


def test_in_quiet_times_a_comment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_KEEP_ALIVE_SECONDS", -1)
    done = replace(JOB, revision=2, state="failed")

    assert collected([JOB, JOB, done]) == [event_of(JOB), b": still here\n\n", event_of(done)]


def test_a_server_that_stops_ends_its_streams() -> None:
    assert collected([JOB, JOB], stopping=lambda: True) == [event_of(JOB)]


def test_a_signal_to_stop_is_noticed_and_passed_on() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    stopping = Stopping()
    try:
        with stopping.listening():
            assert not stopping()
            signal.raise_signal(signal.SIGTERM)
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert stopping() and got == [signal.SIGTERM] and after is not before
