"""What both clients have in common: where the server is, who asks, and what a response means."""

from __future__ import annotations

from typing import TypeVar

import httpx

from imsage.calls import Call
from imsage.errors import ImsageError, error_of
from imsage.retrying import Retries

T = TypeVar("T")

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = 30.0
POLL_SECONDS = 0.5


def headers_of(api_key: str | None) -> dict[str, str]:
    """The headers of every request."""
    key = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {"Accept": "*/*", "User-Agent": "imsage-python", **key}


def pause_or_raise(
    response: httpx.Response, retries: Retries, attempt: int, *, retried: bool = True
) -> float:
    """Seconds to wait before a call that failed is made again. Raises ImsageError when it shall not be."""
    pause = retries.pause(response, attempt) if retried else None
    if pause is None:
        raise error_of(response)
    return pause


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """The answer in a successful response. Raises ImsageError for what no imsage server answers."""
    try:
        return call.answer(response)
    except ValueError as error:
        raise ImsageError(
            type="about:blank",
            title="Not understood",
            status=response.status_code,
            detail=f"What {response.url} answers is not imsage's: {error}",
            instance=response.url.path,
            request_id=response.headers.get("x-request-id"),
        ) from error
