"""Nothing depends on the order of the wall clock, which may be set back; what is told of it is UTC."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.cli import run
from app.jobs.job import Job, Order
from app.jobs.places import jobs_path
from app.jobs.schedule import RETRY_AFTER, IndexAge, Schedule
from app.jobs.store import JobStore
from gnn.last_trained import trained_directory
from gnn.reindex import reindex
from gnn.trained_model import MODEL
from gnn.training import train
from graph_store import snapshot as snapshot_module
from graph_store.data_dir import DataDir
from graph_store.errors import NothingToServe
from graph_store.snapshot import Snapshot, SnapshotWriter, last_good, prune
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, write_catalogue

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY = Schedule(0.0, 24 * HOUR)
AT_ANY_CHANGE = Schedule(0.001, timedelta())


def backwards() -> Iterator[datetime]:
    """A clock that loses an hour at every look."""
    moment = NOW
    while True:
        yield moment
        moment -= HOUR


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    data_dir = DataDir(tmp_path / "data")
    data_dir.create()
    return data_dir


def test_snapshots_are_ordered_by_their_numbers_when_the_clock_goes_back(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = backwards()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # whatever zone is asked for
            return next(clock)

    monkeypatch.setattr(snapshot_module, "datetime", Clock)
    made = []
    for value in range(4):
        with SnapshotWriter(data_dir) as writer:
            writer.json("value", value)
            made.append(writer.commit({}))
    created = [snapshot.manifest["created"] for snapshot in made]
    assert created == sorted(created, reverse=True)
    assert [snapshot.version for snapshot in made] == sorted(snapshot.version for snapshot in made)
    assert Snapshot.open(data_dir).version == last_good(data_dir).version == made[-1].version
    assert prune(data_dir, 1) == [snapshot.version for snapshot in made[:-1]]


def test_jobs_are_ordered_by_their_numbers_when_the_clock_goes_back(data_dir: DataDir) -> None:
    clock = backwards()
    store = JobStore(jobs_path(data_dir), clock=lambda: next(clock))
    order = Order("reindex", {"full": False, "preset": None})
    made = []
    for _ in range(3):
        job = store.claim(store.add(order).id)
        store.report(job.id, job.progress, [("start", 0.5), ("embed", 2.0)])
        made.append(store.finish(job.id, "succeeded"))
    assert all(job.started is not None and job.ended is not None and job.ended < job.started for job in made)
    assert [job.id for job in store.page(10)] == [job.id for job in reversed(made)]
    last = store.last("reindex")
    assert last is not None and last.id == made[-1].id
    assert store.seconds_of_last("reindex") == 2.5
    store.close()


def reindexed(at: datetime, state: str = "succeeded") -> Job:
    stamp = at.isoformat()
    return Job(1, "000001-0", "reindex", {}, state, created=stamp, ended=stamp)  # type: ignore[arg-type]


def test_an_index_from_the_future_is_reindexed_once_and_not_for_ever() -> None:
    age = IndexAge(changed=0, indexed=100, created=NOW + 1000 * HOUR)
    assert DAILY.due(NOW, age, None)
    assert DAILY.due(NOW, age, reindexed(NOW + 999 * HOUR))
    # It found nothing new, so the snapshot keeps its time; the job counts.
    assert not DAILY.due(NOW + HOUR, age, reindexed(NOW))
    assert DAILY.due(NOW + 24 * HOUR, age, reindexed(NOW))


def test_a_failure_in_the_future_holds_nothing_up() -> None:
    age = IndexAge(changed=50, indexed=100, created=NOW)
    assert AT_ANY_CHANGE.due(NOW, age, reindexed(NOW + HOUR, "failed"))
    assert not AT_ANY_CHANGE.due(NOW, age, reindexed(NOW - RETRY_AFTER / 2, "failed"))


def test_the_last_trained_model_is_the_last_whatever_its_file_says(tmp_path: Path) -> None:
    chosen = drawn_tags(24)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen), drawn_features(chosen))
    older = data_dir.models_dir / "paper"
    train(data_dir, epochs=1)
    shutil.copytree(data_dir.models_dir / "default", older)
    later = NOW.timestamp() + 10**9
    os.utime(older / MODEL, (later, later))

    assert trained_directory(data_dir, None).name == "default"
    assert reindex(data_dir).manifest["model"]["preset"] == "default"

    shutil.rmtree(data_dir.models_dir / "default")
    with pytest.raises(NothingToServe, match="LAST names preset 'default', of which there is no model"):
        trained_directory(data_dir, None)
    (data_dir.models_dir / "LAST").unlink()
    assert trained_directory(data_dir, None) == older


def test_the_time_of_a_job_is_told_in_utc_wherever_the_machine_is(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    store = JobStore(jobs_path(data_dir))
    store.claim(store.add(Order("reindex", {"full": False, "preset": None})).id)
    store.close()

    assert run(["jobs", "--data", str(data_dir.root)]) == 0

    (told,) = [word for word in capsys.readouterr().out.split() if "T" in word]
    moment = datetime.fromisoformat(told)
    assert moment.tzinfo == UTC or moment.utcoffset() == UTC.utcoffset(None)
    assert abs(datetime.now(UTC) - moment) < HOUR
