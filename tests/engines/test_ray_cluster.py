"""An address at which no cluster answers is said soon and by name."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from gnn.engines.errors import EngineFailed
from gnn.engines.ray_cluster import ray_cluster


@pytest.fixture(autouse=True)
def not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no other test had a cluster."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was asked, which waits for many minutes"))


def refused(wait_s: float = 1.0) -> str:
    """What is said, within a little more than the given time."""
    start = time.monotonic()
    with pytest.raises(EngineFailed) as raised, ray_cluster(wait_s):
        pass
    assert time.monotonic() - start < wait_s + 2
    return str(raised.value)


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """The address of a server that gives every caller the same answer; none, not even an end, for None."""
    callers: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            callers.append(caller)
            if answer is not None:
                with suppress(OSError):  # the caller may have heard enough
                    caller.recv(1000)
                    caller.sendall(answer)
                    caller.shutdown(socket.SHUT_RDWR)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        serving.join()
    for caller in callers:
        caller.close()


def test_an_address_where_nobody_is_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    said = refused()
    assert f"RAY_ADDRESS={address}" in said
    assert "Connection refused" in said


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None], ids=["web", "end", "mute"]
)
def test_what_listens_there_and_is_not_ray_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    with listener(answer) as address:
        monkeypatch.setenv("RAY_ADDRESS", f"ray://{address}")
        assert f"RAY_ADDRESS=ray://{address}" in refused()


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port", "http://[::1"])
def test_what_is_no_address_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert f"RAY_ADDRESS={address} is no address" in refused(0.0)


def test_a_server_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    calls: list[dict[str, object]] = []
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")

    def come() -> None:
        time.sleep(0.7)
        with closing(socket.create_server(("127.0.0.1", port))) as server:
            caller, _ = server.accept()
            with caller:
                caller.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                caller.recv(1000)

    server_thread = threading.Thread(target=come)
    server_thread.start()
    with ray_cluster(10.0):
        pass
    server_thread.join()
    assert len(calls) == 1
