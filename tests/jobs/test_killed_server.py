"""A server of several processes is killed in the middle of its job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from graph_store.data_dir import DataDir
from tests.api.test_serve import START, free_port
from tests.jobs.conftest import ENDLESS, ended, follow, in_the_middle, submitted

START_SECONDS = 200


@contextmanager
def server(data: Path, log: Path, **settings: Any) -> Iterator[httpx.Client]:
    """A server with all of its processes in one group, which is killed in the end."""
    chosen = Settings(data=data, port=free_port(), **settings)
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", START],
            env={**os.environ, **chosen.to_environment()},
            stderr=stderr,
            start_new_session=True,
        )
    # A connection of its own for each request, so that each worker gets some.
    one_each = httpx.Limits(max_keepalive_connections=0)
    address = f"http://127.0.0.1:{chosen.port}"
    try:
        with httpx.Client(base_url=address, timeout=60, trust_env=False, limits=one_each) as client:
            until = time.monotonic() + START_SECONDS
            while not _ready(client):
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.timeout(900)  # three servers and jobs start, each of which loads PyTorch
def test_the_job_of_a_killed_server_is_interrupted_and_goes_on_when_resumed(
    built_copy: DataDir, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with server(built_copy.root, log, workers=2) as client:
        job = submitted(client, ENDLESS)
        before = follow(client, job["id"], in_the_middle)
        seen = {client.get(f"/v1/jobs/{job['id']}").json()["state"] for _ in range(8)}
        refused = {client.post("/v1/jobs", json={"kind": "reindex"}).status_code for _ in range(8)}
    with server(built_copy.root, log) as client:
        left = follow(client, job["id"], ended)
        resumed = client.post(f"/v1/jobs/{job['id']}/resume").json()
        going_on = follow(client, resumed["id"], in_the_middle)
        client.post(f"/v1/jobs/{resumed['id']}/cancel")
        last = follow(client, resumed["id"], ended)

    assert seen == {"processing"} and refused == {409}
    assert (left["state"], left["interrupted"], left["resumable"]) == ("failed", True, True)
    assert going_on["resumed_from"] == job["id"]
    assert going_on["progress"]["done"] >= before["progress"]["done"]
    assert last["state"] == "canceled"
