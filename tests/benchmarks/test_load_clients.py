"""The clients that make load, against sockets that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.load import clients
from benchmarks.load.clients import ask_until

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


def answering(listener: socket.socket, answers: list[bytes]) -> threading.Thread:
    """One connection, which reads a question before each of the answers and then closes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def after(count: int) -> Iterator[bool]:
    yield from [False] * count
    while True:
        yield True


def test_answers_are_told_with_their_status_and_body(listener: socket.socket) -> None:
    thread = answering(listener, [ANSWER, ANSWER])
    ends = after(2)
    asked = ask_until(url_of(listener), "/search", [b"{}"], 1, lambda _: next(ends))
    thread.join()
    assert [(each.status, each.body) for each in asked] == [(200, b"{}")] * 2


def test_an_answer_that_does_not_come_counts_as_none(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LONGEST", 0.05)
    ends = after(1)
    asked = ask_until(url_of(listener), "/search", [b"{}"], 1, lambda _: next(ends))
    assert [each.status for each in asked] == [0] and b"Timeout" in asked[0].body


def test_a_connection_that_breaks_counts_as_none(listener: socket.socket) -> None:
    thread = answering(listener, [ANSWER, b""])
    ends = after(2)
    asked = ask_until(url_of(listener), "/search", [b"{}"], 1, lambda _: next(ends))
    thread.join()
    assert [each.status for each in asked] == [200, 0]
