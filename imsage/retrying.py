"""When to ask again, and after how long: a server that is busy says both (429 or 503, Retry-After)."""

from __future__ import annotations

import datetime
import email.utils
import random
from dataclasses import dataclass

import httpx

from imsage.errors import unreachable

BUSY = (429, 503)
_FIRST_PAUSE = 0.5


@dataclass(frozen=True)
class Retries:
    """At most so many further attempts, none after a pause of more than `longest_pause` seconds."""

    most: int = 3
    longest_pause: float = 30.0

    def pause(self, response: httpx.Response, attempt: int) -> float | None:
        """Seconds to wait after the failed attempt number `attempt` (from 0); None to give up."""
        if response.status_code not in BUSY or attempt >= self.most:
            return None
        asked = _retry_after(response.headers.get("retry-after", ""))
        if asked is None:
            asked = _growing(attempt)
        return asked if asked <= self.longest_pause else None

    def pause_after(self, error: httpx.RequestError, url: httpx.URL, attempt: int) -> float:
        """Seconds to wait before a stream that broke is taken up again. Raises ImsageError to give up."""
        if attempt >= self.most:
            raise unreachable(error, url) from error
        return _growing(attempt)


def _growing(attempt: int) -> float:
    # Clients that were turned away together shall not come back together.
    return _FIRST_PAUSE * 2.0**attempt * random.uniform(0.5, 1.5)


def _retry_after(value: str) -> float | None:
    """Seconds, given as such or as a date (RFC 9110, 10.2.3); None when it says neither."""
    if value.strip().isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=datetime.UTC)
    return max(0.0, (until - datetime.datetime.now(datetime.UTC)).total_seconds())
