"""Jobs over HTTP: real processes over the drawn catalogue."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import TEMPORARY, versions
from graph_store.verify import verify_data_dir
from tests.api.conftest import problem, serving
from tests.api.test_snapshot_swap import wait_until
from tests.jobs.conftest import ENDLESS, ended, follow, in_the_middle, submitted


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(data) for data in re.findall(r"^data: (.*)$", text, flags=re.MULTILINE)]


def test_a_reindex_runs_is_followed_to_its_end_and_is_served(built_copy: DataDir) -> None:
    with serving(built_copy.root, keep_snapshots=1) as client:
        before = client.get("/v1/index").json()["index_version"]
        job = submitted(client, {"kind": "reindex", "full": True})
        assert job["state"] == "enqueued" and job["parameters"] == {"full": True, "preset": None}

        stream = client.get(f"/v1/jobs/{job['id']}/events")
        told = events_of(stream.text)
        last_id = re.findall(r"^id: (\d+)$", stream.text, flags=re.MULTILINE)[-1]
        again = client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": last_id})
        after = told[-1]["result"]["index_version"]
        wait_until(lambda: client.get("/v1/index").json()["index_version"] == after)
        metrics = client.get("/metrics").text

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert told[0]["id"] == job["id"] and told[-1]["state"] == "succeeded"
    last = told[-1]["progress"]
    assert last["phase"] == "write" and last["done"] == last["total"] > 0
    assert told[-1]["result"]["counts"]["images"] > 50 and told[-1]["error"] is None
    assert after != before and versions(built_copy) == [after]
    assert again.status_code == 204
    assert 'imsage_jobs{kind="reindex",state="succeeded"} 1.0' in metrics
    assert 'imsage_job_seconds{kind="reindex"}' in metrics


def test_a_training_is_canceled_in_the_middle_and_leaves_everything_whole(built_copy: DataDir) -> None:
    current = built_copy.current_path.read_bytes()
    with serving(built_copy.root) as client:
        job = submitted(client, ENDLESS, **{"Idempotency-Key": "once"})
        follow(client, job["id"], in_the_middle)

        busy = client.post("/v1/jobs", json={"kind": "reindex"})
        same = client.post("/v1/jobs", json=ENDLESS, headers={"Idempotency-Key": "once"})
        other = client.post("/v1/jobs", json={"kind": "reindex"}, headers={"Idempotency-Key": "once"})
        early = client.post(f"/v1/jobs/{job['id']}/resume")
        assert client.post("/v1/search", json={"tags": ["red"]}).status_code == 200
        asked = client.post(f"/v1/jobs/{job['id']}/cancel")
        last = follow(client, job["id"], ended)
        twice = client.post(f"/v1/jobs/{job['id']}/cancel")
        # The slot is free again: what comes next starts at once.
        next_job = submitted(client, {"kind": "reindex"})
        done = follow(client, next_job["id"], ended)
        late = client.post(f"/v1/jobs/{next_job['id']}/cancel")
        listed = client.get("/v1/jobs", params={"limit": 1}).json()
        older = client.get("/v1/jobs", params={"cursor": listed["next_cursor"]}).json()

    assert job["id"] in problem(busy, 409, "job-running")["detail"]
    assert same.status_code == 202 and same.json()["id"] == job["id"]
    assert same.headers["idempotent-replayed"] == "true"
    assert problem(other, 422, "idempotency-key-reused")["errors"][0]["pointer"] == "#header/Idempotency-Key"
    problem(early, 409, "job-not-resumable")
    assert asked.status_code == 202 and asked.json()["cancel_requested"]
    assert (last["state"], last["interrupted"], last["resumable"]) == ("canceled", False, True)
    assert twice.status_code == 202 and twice.json()["state"] == "canceled"
    assert done["state"] == "succeeded"
    problem(late, 409, "job-ended")
    assert [found["id"] for found in listed["jobs"]] == [next_job["id"]]
    assert [found["id"] for found in older["jobs"]] == [job["id"]] and older["next_cursor"] is None
    assert built_copy.current_path.read_bytes() == current and verify_data_dir(built_copy) == []


def test_stopping_the_server_interrupts_its_job(built_copy: DataDir) -> None:
    with serving(built_copy.root) as client:
        job = submitted(client, ENDLESS)
        follow(client, job["id"], in_the_middle)
    with serving(built_copy.root) as client:
        left = client.get(f"/v1/jobs/{job['id']}").json()

    assert (left["state"], left["interrupted"], left["resumable"]) == ("failed", True, True)
    assert left["error"]["type"] == "urn:imsage:problem:interrupted"


def test_a_job_that_cannot_be_done_says_why(ingested_copy: DataDir) -> None:
    with serving(ingested_copy.root) as client:
        job = submitted(client, {"kind": "reindex"})
        last = follow(client, job["id"], ended)

    assert last["state"] == "failed" and not last["interrupted"]
    assert last["error"]["type"] == "urn:imsage:problem:nothing-to-serve"
    assert "no trained model" in last["error"]["detail"]


def test_what_a_killed_reindex_left_is_removed_when_its_job_is_marked(built_copy: DataDir) -> None:
    from app.jobs.job import Order
    from app.jobs.places import jobs_path
    from app.jobs.store import JobStore

    # As a power cut leaves it: a job that runs, half a snapshot, and no process.
    store = JobStore(jobs_path(built_copy))
    job = store.claim(store.add(Order("reindex", {"full": False, "preset": None})).id)
    half = built_copy.snapshots_dir / f"{TEMPORARY}000099"
    half.mkdir()
    (half / "features.npy").write_bytes(b"half")
    with serving(built_copy.root) as client:
        found = client.get(f"/v1/jobs/{job.id}").json()

    assert (found["state"], found["interrupted"]) == ("failed", True)
    assert not half.exists() and Snapshot.open(built_copy)


def test_while_a_command_works_on_the_catalogue_no_job_is_started(built_copy: DataDir) -> None:
    with serving(built_copy.root) as client, built_copy.lock("ingest"):
        refused = client.post("/v1/jobs", json={"kind": "reindex"})
        jobs = client.get("/v1/jobs").json()["jobs"]

    assert "ingest" in problem(refused, 409, "data-directory-busy")["detail"]
    assert jobs == []


BAD_ORDERS: list[tuple[dict[str, Any], str]] = [
    ({}, "/kind"),
    ({"kind": "ingest"}, "/kind"),
    ({"kind": "reindex", "epochs": 3}, "/epochs"),
    ({"kind": "reindex", "full": 1}, "/full"),
    ({"kind": "train", "epochs": 0}, "/epochs"),
    ({"kind": "train", "seed": -1}, "/seed"),
    ({"kind": "train", "seed": 2**32}, "/seed"),
    ({"kind": "train", "preset": "best"}, "/preset"),
]


@pytest.mark.parametrize(("body", "pointer"), BAD_ORDERS, ids=[str(body) for body, _ in BAD_ORDERS])
def test_a_wrong_order_is_pointed_at(client: TestClient, body: dict[str, Any], pointer: str) -> None:
    answer = problem(client.post("/v1/jobs", json=body), 422, "invalid-request")
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


def test_a_job_that_never_was_is_not_found(client: TestClient) -> None:
    for call in ("", "/events"):
        problem(client.get(f"/v1/jobs/000001-00000000{call}"), 404, "not-found")
    for call in ("/cancel", "/resume"):
        problem(client.post(f"/v1/jobs/000001-00000000{call}"), 404, "not-found")
    problem(client.get("/v1/jobs", params={"cursor": "nothing"}), 404, "not-found")


def test_an_empty_key_and_an_unknown_state_are_pointed_at(client: TestClient) -> None:
    refused = client.post("/v1/jobs", json={"kind": "reindex"}, headers={"Idempotency-Key": ""})
    assert problem(refused, 422)["errors"][0]["pointer"] == "#header/Idempotency-Key"
    refused = client.get("/v1/jobs", params={"state": "done"})
    assert problem(refused, 422)["errors"][0]["pointer"] == "#query/state"


def test_without_a_catalogue_there_is_nothing_to_do(tmp_path: Any) -> None:
    with serving(tmp_path) as client:
        problem(client.post("/v1/jobs", json={"kind": "reindex"}), 503, "nothing-to-serve")
        assert client.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}
