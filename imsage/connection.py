"""What both clients have in common: where the server is, who asks, and what a response means."""

from __future__ import annotations

import re
from typing import TypeVar

import httpx

from imsage.answers import Job
from imsage.calls import Call
from imsage.errors import ImsageError, error_of
from imsage.job_calls import JobEvents
from imsage.retrying import Retries

T = TypeVar("T")

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = 90.0
"""Seconds: more than the server gives itself (its setting request_timeout, 60 s), because its answer says
more of what became of a call than a broken connection does."""
QUIET_SECONDS = 60.0
"""How long the events of a job may be silent: several times the 15 s after which the server says something
anyway."""
POLL_SECONDS = 0.5
_GIVEN_UP = "urn:imsage:problem:timeout"
_KEY = re.compile(r"[\x21-\x7e]*")


def headers_of(api_key: str | None) -> dict[str, str]:
    """The headers of every request. Raises ValueError, which does not repeat it, for what can be no key."""
    bare = (api_key or "").strip()  # read from a file it often ends with a line
    if not _KEY.fullmatch(bare):
        raise ValueError("api_key holds a space, a line break or another character that no key has")
    key = {"Authorization": f"Bearer {bare}"} if bare else {}
    return {"Accept": "*/*", "User-Agent": "imsage-python", **key}


def stream_timeout(timeout: httpx.Timeout) -> httpx.Timeout:
    """That of a client, for a stream of events: in quiet times it brings something every 15 s only."""
    read = None if timeout.read is None else max(timeout.read, QUIET_SECONDS)
    return httpx.Timeout(connect=timeout.connect, read=read, write=timeout.write, pool=timeout.pool)


def pause_or_raise(
    response: httpx.Response, retries: Retries, attempt: int, call: Call[T] | None = None
) -> float:
    """Seconds to wait before what failed is asked again. Raises ImsageError when it shall not be.

    Without a call it is a stream, which is looked at and changes nothing.
    """
    error = error_of(response)
    again = call is None or (call.retried and (call.repeatable or error.type != _GIVEN_UP))
    pause = retries.pause(response, attempt) if again else None
    if pause is None:
        raise error
    return pause


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """The answer in a successful response. Raises ImsageError for what no imsage server answers."""
    try:
        return call.answer(response)
    except ValueError as error:
        raise _not_understood(response, error) from error


def job_of(events: JobEvents, line: str, response: httpx.Response) -> Job | None:
    """The job that this line of a stream completes. Raises ImsageError for what no imsage server sends."""
    try:
        return events.feed(line)
    except ValueError as error:
        raise _not_understood(response, error) from error


def _not_understood(response: httpx.Response, error: ValueError) -> ImsageError:
    return ImsageError(
        type="about:blank",
        title="Not understood",
        status=response.status_code,
        detail=f"What {response.url} answers is not imsage's: {error}",
        instance=response.url.path,
        request_id=response.headers.get("x-request-id"),
    )
