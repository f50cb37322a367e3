"""A reindex is canceled in the middle, and taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gnn.reindex import reindex
from gnn.training import train
from graph_store.data_dir import DataDir
from graph_store.snapshot_files import TEMPORARY, versions
from graph_store.verify import verify_data_dir
from tests.api.conftest import serving
from tests.api.test_snapshot_swap import wait_until
from tests.gnn.worlds import SPEC, drawn_features, drawn_records, drawn_tags, store, write_catalogue
from tests.jobs.conftest import ended, follow, submitted

TRAINED, ALL = 40, 20_000
"""Joining so many pictures to those like them takes seconds, so that a test can be in the middle of it."""


@pytest.fixture
def grown(tmp_path: Path) -> DataDir:
    """A small index, and the many pictures that came since."""
    chosen = drawn_tags(ALL)
    records, features = drawn_records(chosen), drawn_features(chosen)
    data_dir = write_catalogue(tmp_path / "data", records[:TRAINED], features[:TRAINED])
    train(data_dir, epochs=1)
    reindex(data_dir)
    store(data_dir, records[TRAINED:], features[TRAINED:], SPEC)
    return data_dir


def under_way(job: dict[str, Any]) -> bool:
    """Some of the pictures are joined."""
    return job["progress"]["phase"] == "similar" and job["progress"]["done"] > 0


def going_on(client: TestClient, job_id: str) -> dict[str, Any]:
    """The job that takes up an ended one, as soon as that one's process is gone."""
    answers: list[Any] = []

    def accepted() -> bool:
        answers.append(client.post(f"/v1/jobs/{job_id}/resume"))
        return bool(answers[-1].status_code == 202)

    wait_until(accepted)
    job: dict[str, Any] = answers[-1].json()
    return job


@pytest.mark.timeout(600)  # two jobs start, each of which loads PyTorch
def test_a_reindex_is_canceled_in_the_middle_and_a_resumed_one_indexes_everything(grown: DataDir) -> None:
    (before,) = versions(grown)
    with serving(grown.root) as client:
        job = submitted(client, {"kind": "reindex", "full": True})
        follow(client, job["id"], under_way)
        client.post(f"/v1/jobs/{job['id']}/cancel")
        canceled = follow(client, job["id"], ended)
        # Where it had to be ended at once, whoever watches over its process tidies up right after.
        wait_until(lambda: not list(grown.snapshots_dir.glob(f"{TEMPORARY}*")))
        left = versions(grown)
        served = client.get("/v1/index").json()["index_version"]
        resumed = going_on(client, job["id"])
        last = follow(client, resumed["id"], ended)

    assert (canceled["state"], canceled["resumable"], canceled["result"]) == ("canceled", True, None)
    assert left == [before] and served == before
    assert (resumed["resumed_from"], resumed["parameters"]) == (job["id"], job["parameters"])
    assert last["state"] == "succeeded"
    counts = last["result"]["counts"]
    assert counts["images"] == counts["indexed"] == ALL
    assert counts["skipped"] == counts["failed"] == 0
    assert (last["progress"]["skipped"], last["progress"]["failed"]) == (0, 0)
    assert verify_data_dir(grown) == []
