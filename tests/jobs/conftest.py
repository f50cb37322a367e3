"""Real jobs over the drawn catalogue, in real processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from graph_store.data_dir import DataDir
from tests.api.conftest import serving

ENDLESS: dict[str, Any] = {"kind": "train", "preset": "paper", "epochs": 100_000}
"""A training that nobody waits for the end of, so that a test can be in the middle of it."""

FINAL = ("succeeded", "failed", "canceled")
_PATIENCE_SECONDS = 200  # a busy machine takes tens of seconds to load PyTorch


@pytest.fixture(scope="session")
def client(built_data_dir: DataDir) -> Iterator[TestClient]:
    """The drawn catalogue, served. Only for what starts no job."""
    with serving(built_data_dir.root) as started:
        yield started


def follow(client: httpx.Client, job_id: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job when `until` holds of it."""
    limit = time.monotonic() + _PATIENCE_SECONDS
    while True:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
        if until(job):
            return job
        assert time.monotonic() < limit, job
        assert job["state"] not in FINAL, job
        time.sleep(0.1)


def ended(job: dict[str, Any]) -> bool:
    return job["state"] in FINAL


def in_the_middle(job: dict[str, Any]) -> bool:
    """Some epochs are done."""
    return job["progress"]["phase"] == "train" and job["progress"]["done"] >= 2


def submitted(client: httpx.Client, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    response = client.post("/v1/jobs", json=body, headers=headers)
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    return job
