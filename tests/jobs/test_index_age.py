"""What the index is behind by, and the reindex that starts by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.jobs import watch as watch_module
from app.jobs.index_age import IndexAgeReader
from app.jobs.watch import JobWatch
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from tests.api.conftest import serving
from tests.api.test_snapshot_swap import version, wait_until
from tests.jobs.conftest import ended, follow


def change(data_dir: DataDir, count: int) -> None:
    """Change the captions of so many images."""
    from dataclasses import replace

    with Catalog.open(data_dir.catalog_path) as catalog:
        records = [record for record in catalog.records() if record.split == "train"][:count]
        catalog.upsert([replace(record, caption="changed") for record in records])


def test_changes_since_the_snapshot_are_counted(built_copy: DataDir) -> None:
    reader = IndexAgeReader(built_copy)
    before = reader()
    change(built_copy, 3)
    after = reader()

    assert before is not None and after is not None
    assert (before.changed, after.changed) == (0, 3)
    assert after.indexed > 50
    assert timedelta() <= datetime.now(UTC) - after.created < timedelta(days=1)


def test_without_a_snapshot_there_is_no_age(ingested_data_dir: DataDir) -> None:
    assert IndexAgeReader(ingested_data_dir)() is None


def test_a_server_reindexes_by_itself_when_enough_has_changed(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_LOOK_SECONDS", 0.05)
    with serving(built_copy.root, reindex_delta_share=0.05) as client:
        before = version(client)
        change(built_copy, 10)
        wait_until(lambda: bool(client.get("/v1/jobs").json()["jobs"]))
        (job,) = client.get("/v1/jobs").json()["jobs"]
        last = follow(client, job["id"], ended)
        wait_until(lambda: version(client) == last["result"]["index_version"])
        (only,) = client.get("/v1/jobs").json()["jobs"]

    assert job["trigger"] == "schedule" and last["state"] == "succeeded"
    assert last["result"]["index_version"] != before
    assert only["id"] == job["id"]


def test_the_watch_goes_on_after_a_fault(built_copy: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []

    def failing(watch: JobWatch) -> None:
        looks.append(watch)
        raise FileNotFoundError("a snapshot that was removed meanwhile")

    monkeypatch.setattr(watch_module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(JobWatch, "look", failing)
    with serving(built_copy.root, reindex_every_hours=24):
        wait_until(lambda: len(looks) >= 3)


@pytest.mark.parametrize(("hours", "started"), [(1e-6, ["schedule"]), (24, [])])
def test_a_server_reindexes_by_itself_when_the_index_is_old_enough(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch, hours: float, started: list[str]
) -> None:
    looks: list[object] = []
    look = JobWatch.look

    def counted(watch: JobWatch) -> object:
        looks.append(look(watch))
        return looks[-1]

    monkeypatch.setattr(watch_module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(JobWatch, "look", counted)
    with serving(built_copy.root, reindex_every_hours=hours) as client:
        # A busy machine starts a job some looks later; that none is started has been seen after two.
        wait_until(lambda: len(looks) >= 2 and (not started or bool(client.get("/v1/jobs").json()["jobs"])))
        jobs = client.get("/v1/jobs").json()["jobs"]

    assert [job["trigger"] for job in jobs] == started
