"""A job as a stream of server-sent events, as https://html.spec.whatwg.org/#server-sent-events has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson

from app.jobs.job import Job

_POLL_SECONDS = 0.25
_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = b": still here\n\n"


def event_of(job: Job) -> bytes:
    """One event named `job`, its data the job, its id the job's revision."""
    return b"id: %d\nevent: job\ndata: %s\n\n" % (job.revision, orjson.dumps(job.to_dict()))


async def events(
    first: Job, look: Callable[[], Awaitable[Job]], stopping: Callable[[], bool] = lambda: False
) -> AsyncIterator[bytes]:
    """The job as it is, then again whenever it has changed, until it has ended or the server is `stopping`.

    A comment in quiet times keeps proxies from closing the connection. Progress comes from another process,
    by way of the history, so it is looked for.
    """
    job, sent = first, time.monotonic()
    yield event_of(job)
    while job.active and not stopping():
        await asyncio.sleep(_POLL_SECONDS)
        newer = await look()
        if newer.revision != job.revision:
            job, sent = newer, time.monotonic()
            yield event_of(job)
        elif time.monotonic() - sent > _KEEP_ALIVE_SECONDS:
            sent = time.monotonic()
            yield _KEEP_ALIVE
