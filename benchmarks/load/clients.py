"""Clients that ask one question after the other, each over its own kept connection."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

JSON = {"content-type": "application/json"}


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


def ask_until(
    url: str, path: str, bodies: Sequence[bytes], clients: int, over: Callable[[float], bool]
) -> list[Asked]:
    """Let so many clients ask the bodies in turn until `over`, given the seconds so far, says so."""
    numbers = itertools.count()  # next() of it is one step of the interpreter, so threads may share it
    address = urlsplit(url)
    assert address.hostname is not None and address.port is not None
    host, port = address.hostname, address.port
    start = time.perf_counter()
    # All begin at once, when every connection is open.
    gate = threading.Barrier(clients)

    def client() -> list[Asked]:
        connection = http.client.HTTPConnection(host, port, timeout=120)
        connection.connect()
        gate.wait()
        asked = []
        while not over(time.perf_counter() - start):
            number = next(numbers) % len(bodies)
            began = time.perf_counter()
            try:
                connection.request("POST", path, bodies[number], JSON)
                response = connection.getresponse()
                status, body = response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                status, body = 0, repr(error).encode()
                connection.close()
            asked.append(Asked(number, began, time.perf_counter(), status, body))
        connection.close()
        return asked

    with ThreadPoolExecutor(clients) as pool:
        waiting = [pool.submit(client) for _ in range(clients)]
        return sorted((one for each in waiting for one in each.result()), key=lambda one: one.ended)


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
