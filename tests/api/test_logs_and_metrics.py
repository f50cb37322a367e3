"""What operators are told of writes, of damage, and of what goes on in threads."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from structlog.testing import LogCapture

from app.api.metrics import MULTIPROCESS_VARIABLE
from gnn.reindex import reindex
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.records import ImageRecord
from tests.api.conftest import png, serving
from tests.api.test_operations import samples
from tests.api.test_snapshot_swap import version, wait_until
from tests.shapes import Shape


@contextmanager
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged meanwhile, with what the context knows."""
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    try:
        yield capture.entries
    finally:
        structlog.configure(**before)


def upsert(client: TestClient, **pictures: bytes) -> None:
    images = [
        {"id": name, "image": {"data": base64.b64encode(data).decode()}} for name, data in pictures.items()
    ]
    assert client.post("/v1/images", json={"images": images}).status_code == 200


def gauge(client: TestClient, name: str) -> float:
    return samples(client)[(name, ())]


@pytest.mark.parametrize("several_workers", [False, True])
def test_only_the_snapshot_that_is_served_has_a_series(
    several_workers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "from app.api.metrics import Metrics\nmetrics = Metrics()\n"
        "for name in ('first', 'second'):\n    metrics.serving(name, 1, 1, 0, False)\n"
        "print(metrics.exposition().decode())"
    )
    if several_workers:  # what prometheus_client reads as it is imported
        monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path))
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert re.findall(r'version="(\w+)"', told) == ["second"]


def test_what_is_logged_in_a_thread_names_the_request(built_copy: DataDir) -> None:
    # Nothing but the request looks at the catalogue.
    with serving(built_copy.root, snapshot_poll_seconds=3600) as client:
        with Catalog.open(built_copy.catalog_path) as catalog:
            catalog.upsert([ImageRecord("lost", row=catalog.next_row())])
        with logged() as lines:
            client.delete("/v1/images/nobody", headers={"x-request-id": "mine"})

    assert [line["request_id"] for line in lines if line["event"] == "features_damaged"] == ["mine"]


def test_an_unreadable_catalogue_is_degraded_in_the_metrics_too(built_copy: DataDir) -> None:
    path = built_copy.catalog_path
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with serving(built_copy.root) as client:
        wait_until(lambda: client.get("/readyz").json()["status"] == "degraded")
        assert gauge(client, "imsage_index_degraded") == 1
        path.write_bytes(whole)
        wait_until(lambda: client.get("/readyz").json()["status"] == "ok")
        assert gauge(client, "imsage_index_degraded") == 0


def test_the_images_that_wait_for_a_reindex_are_counted(built_copy: DataDir, held_out: list[Shape]) -> None:
    with serving(built_copy.root) as client:
        before = gauge(client, "imsage_index_delta_images")
        upsert(client, one=png(held_out[0]), two=png(held_out[1]))
        written = gauge(client, "imsage_index_delta_images")
        made = reindex(built_copy).version
        wait_until(lambda: version(client) == made)
        after = gauge(client, "imsage_index_delta_images")

    assert (before, written, after) == (0, 2, 0)


def test_decoding_and_encoding_of_stored_pictures_are_timed(
    built_copy: DataDir, held_out: list[Shape]
) -> None:
    with serving(built_copy.root) as client:
        upsert(client, one=png(held_out[0]), two=png(held_out[1]), broken=b"no picture")
        found = samples(client)

    counted = {
        stage: found[("imsage_stage_seconds_count", (("stage", stage),))]
        for stage in ("decode", "encode", "total")
    }
    assert counted == {"decode": 2, "encode": 2, "total": 0}
