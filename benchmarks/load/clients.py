"""Clients that ask one question after the other, each over its own kept connection.

They share two cores with the server that is measured, so they do as little as they can: one thread, one event
loop, a parser in C. With a thread each and `http.client` a bare server answered no more than imsage did.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools
import numpy as np
import uvloop

JSON = {"content-type": "application/json"}
LONGEST = 120.0
"""Seconds that an answer may take before it counts as none."""


@dataclass(frozen=True)
class Asked:
    """One question's number and its answer; `began` and `ended` are times of time.perf_counter."""

    number: int
    began: float
    ended: float
    status: int
    body: bytes


@dataclass(frozen=True)
class Figures:
    """What is told of many answers."""

    a_second: float
    p50_ms: float
    p99_ms: float
    answers: int
    errors: int


class _Connection(asyncio.Protocol):
    """One kept connection to a server; one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is no subclass of it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("closed by the server"))

    def on_body(self, body: bytes) -> None:
        """Of the parser."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Of the parser."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((self._parser.get_status_code(), b"".join(self._parts)))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; status 0 where the connection broke or nothing came in time."""
        assert self._transport is not None
        if self._transport.is_closing():
            return 0, b"the connection is closed"
        self._parts.clear()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(LONGEST):  # whose TimeoutError is an OSError
                return await self._waiting
        except (OSError, httptools.HttpParserError) as error:
            self._transport.close()
            return 0, repr(error).encode()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def ask_until(
    url: str, path: str, bodies: Sequence[bytes], clients: int, over: Callable[[float], bool]
) -> list[Asked]:
    """Let so many clients ask the bodies in turn until `over`, given the seconds so far, says so."""
    address = urlsplit(url)
    assert address.hostname is not None and address.port is not None
    head = f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
    requests = [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_ask_all(address.hostname, address.port, requests, clients, over))


async def _ask_all(
    host: str, port: int, requests: Sequence[bytes], clients: int, over: Callable[[float], bool]
) -> list[Asked]:
    loop = asyncio.get_running_loop()

    async def connected() -> _Connection:
        return (await loop.create_connection(_Connection, host, port))[1]

    connections = [await connected() for _ in range(clients)]  # all begin when every one is open
    start = time.perf_counter()
    numbers = itertools.count()
    asked: list[Asked] = []

    async def client(connection: _Connection) -> None:
        while not over(time.perf_counter() - start):
            number = next(numbers) % len(requests)
            began = time.perf_counter()
            status, body = await connection.ask(requests[number])
            asked.append(Asked(number, began, time.perf_counter(), status, body))
            if status == 0:
                connection = await connected()
        connection.close()

    await asyncio.gather(*(client(each) for each in connections))
    return asked


def figures_of(asked: Sequence[Asked]) -> Figures:
    """Answers a second, latencies, and how many answers were not 200."""
    times = np.array([one.ended - one.began for one in asked]) * 1000
    seconds = asked[-1].ended - min(one.began for one in asked)
    return Figures(
        a_second=round(len(asked) / seconds, 1),
        p50_ms=round(float(np.percentile(times, 50)), 2),
        p99_ms=round(float(np.percentile(times, 99)), 2),
        answers=len(asked),
        errors=sum(one.status != 200 for one in asked),
    )
