"""The server as it is started: real processes, a real port."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.testclient import TestClient

from app.api.application import app_from_environment, create_app
from app.keys import keys_path
from app.serve import CANNOT_START, CANNOT_START_NOW, note_that_it_serves, serve
from app.settings import Settings
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, NothingToServe
from tests.api.conftest import png
from tests.shapes import Shape

START = "from app.serve import serve; from app.settings import load_settings; serve(load_settings())"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    data: Path, log: Path, stop: signal.Signals = signal.SIGTERM, **settings: Any
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A client of a server that gets the signal `stop` at the end, and its process."""
    port = free_port()
    chosen = Settings(data=data, port=port, **settings)
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", START], env={**os.environ, **chosen.to_environment()}, stderr=stderr
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            until = time.monotonic() + 120
            while True:
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield client, process
    finally:
        process.send_signal(stop)
        code = process.wait(timeout=60)
    assert code in (0, -stop), log.read_text()


def worker_behind(connection: http.client.HTTPConnection, server: int) -> int:
    """Which process of a server answers at the other end of a connection that has been answered before."""
    ends = [connection.sock.getpeername()[1], connection.sock.getsockname()[1]]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (held,) = [
        f"socket:[{line[9]}]" for line in lines if [int(end.split(":")[1], 16) for end in line[1:3]] == ends
    ]
    for worker in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        for opened in Path(f"/proc/{worker}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if str(opened.readlink()) == held:
                    return int(worker)
    raise AssertionError(f"nobody holds {held}")


def asked(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> Any:
    """The answer to a POST."""
    headers = {"content-type": "application/json", "x-request-id": "mine"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    return answer


def test_workers_share_a_snapshot_and_what_is_written_and_count_together(
    built_copy: DataDir, tmp_path: Path, indexed: list[Shape], held_out: list[Shape]
) -> None:
    log, answers = tmp_path / "log", []
    by_id = {"image": {"id": indexed[0].id}, "limit": 3}
    # What is written is not found for the reason that somebody looks now and then.
    apart: dict[str, Any] = {"workers": 2, "log_format": "json", "snapshot_poll_seconds": 3600}
    with started(built_copy.root, log, **apart) as (client, server), ExitStack() as stack:
        connections: dict[int, http.client.HTTPConnection] = {}
        until = time.monotonic() + 180  # the second worker may still be starting
        while len(connections) < 2:  # whichever worker is the first to take it has a new connection
            assert time.monotonic() < until, connections
            time.sleep(0.1)
            one = http.client.HTTPConnection("127.0.0.1", client.base_url.port, timeout=60)
            stack.callback(one.close)
            answers.append(asked(one, "/v1/search", by_id)["hits"])
            connections[worker_behind(one, server.pid)] = one
        assert all(hits == answers[0] for hits in answers)

        first, second = connections.values()
        for number, (writer, reader) in enumerate([(first, second), (second, first)]):
            picture = base64.b64encode(png(held_out[number])).decode()
            new = {"id": f"new/{number}", "image": {"data": picture}, "attributes": {"new": number}}
            asked(writer, "/v1/images", {"images": [new]})
            only = {"must": [{"key": "new", "match": number}]}
            answers.append(asked(reader, "/v1/search", {"tags": ["red"], "filter": only})["hits"])
            assert [hit["id"] for hit in answers[-1]] == [f"new/{number}"]
        metrics = client.get("/metrics").text
    total = [
        line
        for line in metrics.splitlines()
        if line.startswith("imsage_requests_total") and '"/v1/search"' in line
    ]
    assert [line.split()[-1] for line in total] == [f"{len(answers)}.0"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "request" and line["path"] == "/v1/search"]
    assert len(requests) == len(answers)
    assert all(line["request_id"] == "mine" and line["status"] == 200 for line in requests)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_under_way_is_finished_before_the_server_stops(
    built_data_dir: DataDir, tmp_path: Path, workers: int
) -> None:
    body = json.dumps({"tags": ["red"], "limit": 1}).encode()
    head = (
        f"POST /v1/search HTTP/1.1\r\nhost: imsage\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    ).encode()
    with started(built_data_dir.root, tmp_path / "log", workers=workers) as (client, process):
        port = client.base_url.port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head)
            # The server says this when it begins to read the body: the request is under way.
            assert connection.recv(1024).startswith(b"HTTP/1.1 100")
            process.send_signal(signal.SIGTERM)
            if workers == 1:
                until = time.monotonic() + 60
                while _is_listening(port):
                    assert time.monotonic() < until
                    time.sleep(0.01)
            else:  # the socket stays open until all workers have ended
                time.sleep(1)
            connection.sendall(body)
            answer = b""
            while received := connection.recv(65536):
                answer += received
    assert answer.startswith(b"HTTP/1.1 200") and b'"hits":[{' in answer


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_serving_nothing_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(NothingToServe, match="nothing to serve"):
        serve(Settings(data=tmp_path))


@pytest.fixture
def locked_out(built_copy: DataDir) -> DataDir:
    """A data directory whose API keys cannot be read."""
    keys_path(built_copy).write_text("no keys")
    return built_copy


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_that_cannot_be_read_are_told_before_any_server_starts(
    locked_out: DataDir, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serve._run", lambda _: pytest.fail("a server was started"))
    with pytest.raises(CorruptFile, match=r"keys\.json"):
        serve(Settings(data=locked_out.root, workers=workers))


def test_a_server_process_that_cannot_start_says_why_and_is_not_begun_anew(
    locked_out: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.application.configure_logs", lambda *_: None)
    monkeypatch.setenv("IMSAGE_DATA", str(locked_out.root))
    with pytest.raises(SystemExit) as ended, structlog.testing.capture_logs() as logged:
        app_from_environment()
    assert ended.value.code == CANNOT_START
    assert [line["event"] for line in logged] == ["cannot_start"]
    assert "keys.json" in logged[0]["reason"]


def test_a_process_that_cannot_start_does_not_end_those_that_serve(
    locked_out: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys may become unreadable while a service runs with those that it knows."""
    monkeypatch.setattr("app.api.application.configure_logs", lambda *_: None)
    monkeypatch.setattr("app.serve._PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("IMSAGE_DATA", str(locked_out.root))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    note_that_it_serves()
    with pytest.raises(SystemExit) as ended:
        app_from_environment()
    assert ended.value.code == CANNOT_START_NOW


@pytest.mark.parametrize("workers", [1, 2])
def test_serving_fails_when_its_processes_cannot_start(locked_out: DataDir, workers: int) -> None:
    chosen = Settings(data=locked_out.root, port=free_port(), workers=workers, log_format="json")
    # As when the keys are damaged after they were looked at.
    unlooked = (
        "import sys, app.serve; app.serve.read_keys = lambda path: (); "
        "from app.cli import run; sys.exit(run(['serve']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", unlooked],
        env={**os.environ, **chosen.to_environment()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "keys.json" in done.stderr and "Traceback" not in done.stderr


def test_an_address_that_is_taken_is_refused_by_name(built_data_dir: DataDir) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"127\.0\.0\.1:{port}: another program listens there"):
            serve(Settings(data=built_data_dir.root, port=port))
    with pytest.raises(BadInput, match="Cannot listen"):
        serve(Settings(data=built_data_dir.root, host="203.0.113.1"))


def test_a_service_that_has_stopped_holds_no_snapshot(built_copy: DataDir) -> None:
    app = create_app(Settings(data=built_copy.root))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/readyz").status_code == 200
        assert app.state.service.states.serving is not None
    assert app.state.service.states.serving is None
