"""When a server reindexes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.jobs.job import Job, Order, State
from app.jobs.runner import JobRunner
from app.jobs.schedule import RETRY_AFTER, IndexAge, Schedule
from app.jobs.watch import JobWatch
from app.settings import Settings
from graph_store.data_dir import DataDir

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT_5_PERCENT = Schedule(0.05, timedelta())
DAILY = Schedule(0.0, 24 * HOUR)


def age(changed: int = 0, indexed: int = 1000, hours: float = 1) -> IndexAge:
    return IndexAge(changed, indexed, NOW - hours * HOUR)


def reindexed(ago: timedelta, state: State = "succeeded") -> Job:
    at = (NOW - ago).isoformat()
    ended = None if state in ("enqueued", "processing") else at
    return Job(1, "000001-0", "reindex", {}, state, created=at, ended=ended)


@pytest.mark.parametrize(("changed", "due"), [(0, False), (49, False), (50, True), (2000, True)])
def test_a_share_of_changes_makes_it_due(changed: int, due: bool) -> None:
    assert AT_5_PERCENT.due(NOW, age(changed), None) is due


@pytest.mark.parametrize(("hours", "due"), [(23.9, False), (24, True)])
def test_the_age_of_the_index_makes_it_due(hours: float, due: bool) -> None:
    assert DAILY.due(NOW, age(hours=hours), None) is due


def test_a_reindex_that_found_nothing_new_counts_as_one() -> None:
    assert not DAILY.due(NOW, age(hours=100), reindexed(2 * HOUR))
    assert DAILY.due(NOW, age(hours=100), reindexed(25 * HOUR))


def test_nothing_is_started_beside_a_reindex_or_right_after_one_that_failed() -> None:
    wanted = age(changed=500)
    for state in ("enqueued", "processing"):
        assert not AT_5_PERCENT.due(NOW, wanted, reindexed(HOUR, state))
    for state in ("failed", "canceled"):
        assert not AT_5_PERCENT.due(NOW, wanted, reindexed(RETRY_AFTER / 2, state))
        assert AT_5_PERCENT.due(NOW, wanted, reindexed(RETRY_AFTER, state))


def test_zero_is_off() -> None:
    off = Schedule(0.0, timedelta())

    assert not off.on and AT_5_PERCENT.on and DAILY.on
    assert not off.due(NOW, age(changed=10**6, hours=10**5), None)
    assert not AT_5_PERCENT.due(NOW, age(changed=0, indexed=0), None)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[JobRunner]:
    data_dir = DataDir(tmp_path / "data")
    data_dir.create()
    # Enough of a catalogue for a job to be started; what the job makes of it is not asked here.
    data_dir.catalog_path.touch()
    runner = JobRunner(Settings(data=data_dir.root))
    yield runner
    runner.close()


def test_what_is_due_is_started_once(runner: JobRunner) -> None:
    watches = [JobWatch(runner, AT_5_PERCENT, lambda: age(changed=100), clock=lambda: NOW) for _ in range(2)]

    started = [watch.look() for watch in watches]

    assert started[0] is not None and started[0].trigger == "schedule" and started[0].kind == "reindex"
    assert started[1] is None
    assert len(runner.store.page(10)) == 1


def test_what_is_no_longer_due_when_its_turn_comes_is_not_started(runner: JobRunner) -> None:
    ages = iter([age(changed=100), age(changed=0)])  # another server has reindexed in between

    assert JobWatch(runner, AT_5_PERCENT, lambda: next(ages), clock=lambda: NOW).look() is None
    assert runner.store.page(10) == []


def test_without_an_index_nothing_is_started(runner: JobRunner) -> None:
    assert JobWatch(runner, DAILY, lambda: None, clock=lambda: NOW).look() is None


def test_a_job_whose_process_is_gone_is_marked_at_the_next_look(runner: JobRunner) -> None:
    job = runner.store.claim(runner.store.add(Order("reindex", {"full": False, "preset": None})).id)

    JobWatch(runner, Schedule(0.0, timedelta()), lambda: None).look()

    marked = runner.store.get(job.id)
    assert (marked.state, marked.interrupted) == ("failed", True)
