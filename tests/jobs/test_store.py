"""The history of jobs: durable, in order, and one truth for all processes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.jobs import store as store_module
from app.jobs.errors import JobEnded
from app.jobs.job import JobProgress, Order, State
from app.jobs.measures import JobMeasures
from app.jobs.slot import take_slot
from app.jobs.store import JobStore
from graph_store.errors import CorruptFile, NotFound

REINDEX = Order("reindex", {"full": False, "preset": None})
FULL = Order("reindex", {"full": True, "preset": None})
TRAIN = Order("train", {"preset": "default", "epochs": None, "seed": 0, "resume": False})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def store(path: Path) -> JobStore:
    return JobStore(path)


def ended_after(
    store: JobStore, order: Order, phases: list[tuple[str, float]], state: State = "succeeded"
) -> None:
    """A job that went through these phases."""
    job = store.add(order)
    store.report(job.id, JobProgress(), phases)
    store.finish(job.id, state)


def test_looking_where_there_never_was_a_job_makes_no_file(path: Path, store: JobStore) -> None:
    assert store.page(10) == [] and store.active() == [] and store.counts() == {}
    with pytest.raises(NotFound):
        store.get("000001-00000000")
    assert not path.exists()


def test_who_looks_while_the_file_is_made_finds_it_whole_or_not_at_all(path: Path, store: JobStore) -> None:
    looks: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            looks.append(len(JobStore(path).page(10)))

    thread = threading.Thread(target=look)
    thread.start()
    store.add(REINDEX)
    while not looks or looks[-1] == 0:
        assert thread.is_alive()
    over.set()
    thread.join()

    assert set(looks) <= {0, 1}
    assert [file.name for file in path.parent.glob(".*")] == []


def test_a_job_is_read_back_by_another_process_as_it_was_written(path: Path, store: JobStore) -> None:
    job = store.add(TRAIN, "a key")
    store.claim(job.id)
    store.report(job.id, JobProgress("search", 3, 16, 0, 0, 7.5), [("start", 1.0), ("search", 2.0)])
    store.finish(job.id, "succeeded", result={"epochs": 16})

    read = JobStore(path).get(job.id)

    assert (read.kind, read.state, read.result) == ("train", "succeeded", {"epochs": 16})
    assert read.parameters == TRAIN.parameters and read.started is not None and read.ended is not None
    assert read.progress.done == 3 and read.revision == 4
    assert JobStore(path).with_key("a key") == read
    assert read.to_dict()["progress"]["seconds_left"] is None


def test_the_newest_come_first_whatever_the_clock_says(path: Path) -> None:
    hours = iter(range(23, 0, -1))
    store = JobStore(path, clock=lambda: datetime(2026, 1, 1, next(hours), tzinfo=UTC))
    made = []
    for order in (REINDEX, TRAIN, REINDEX):
        job = store.add(order)
        made.append(job.id)
        store.finish(job.id, "canceled")

    assert [job.id for job in store.page(2)] == [made[2], made[1]]
    assert [job.id for job in store.page(2, before=made[1])] == [made[0]]
    assert [job.id for job in store.page(9, kind="train", state="canceled")] == [made[1]]
    with pytest.raises(NotFound):
        store.page(2, before="no such job")


def test_what_has_ended_stays_as_it_ended(store: JobStore) -> None:
    job = store.add(REINDEX)
    store.finish(job.id, "failed", error={"type": "t", "detail": "d"}, interrupted=True)

    after = store.finish(job.id, "succeeded", result={"index_version": "x"})

    assert (after.state, after.interrupted, after.result, after.resumable) == ("failed", True, None, True)
    with pytest.raises(JobEnded, match=job.id):
        store.request_cancel(job.id)


def test_canceling_twice_is_canceling_once(store: JobStore) -> None:
    job = store.add(REINDEX)
    assert store.request_cancel(job.id).cancel_requested
    store.finish(job.id, "canceled")

    assert store.request_cancel(job.id).state == "canceled"


def test_phases_are_those_of_the_last_success_of_the_same_preset(store: JobStore) -> None:
    ended_after(store, TRAIN, [("start", 1.0), ("work", 1.0)])
    ended_after(store, TRAIN, [("start", 2.0), ("work", 2.0)], "canceled")
    ended_after(store, REINDEX, [("start", 3.0), ("work", 3.0)])

    assert store.earlier_phases("train", TRAIN.parameters) == [("start", 1.0), ("work", 1.0)]
    assert store.earlier_phases("train", {**TRAIN.parameters, "preset": "paper"}) == []
    assert store.earlier_phases("reindex", REINDEX.parameters) == [("start", 3.0), ("work", 3.0)]


def test_a_full_reindex_is_estimated_from_a_full_one_and_no_other_from_it(store: JobStore) -> None:
    ended_after(store, FULL, [("start", 1.0), ("embed", 600.0)])
    assert store.earlier_phases("reindex", REINDEX.parameters) == []

    ended_after(store, REINDEX, [("start", 1.0), ("embed", 2.0)])
    assert store.earlier_phases("reindex", FULL.parameters) == [("start", 1.0), ("embed", 600.0)]
    assert store.earlier_phases("reindex", REINDEX.parameters) == [("start", 1.0), ("embed", 2.0)]


def test_a_reindex_that_found_nothing_to_do_tells_nothing_of_the_next(store: JobStore) -> None:
    ended_after(store, REINDEX, [("start", 1.0), ("embed", 2.0)])
    ended_after(store, REINDEX, [("start", 0.5)])

    assert store.earlier_phases("reindex", REINDEX.parameters) == [("start", 1.0), ("embed", 2.0)]


def test_the_history_does_not_grow_for_ever(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT", 3)
    for _ in range(5):
        store.finish(store.add(REINDEX).id, "succeeded")

    assert [job.number for job in store.page(100)] == [5, 4, 3]


def test_a_damaged_history_is_said_to_be_one(path: Path, store: JobStore) -> None:
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(CorruptFile, match=r"history of jobs .*jobs\.sqlite cannot be read.*jobs\.sqlite-wal"):
        store.page(1)


def test_a_flipped_bit_in_what_a_job_was_told_is_damage(path: Path, store: JobStore) -> None:
    store.add(REINDEX)
    store.close()
    whole = path.read_bytes()
    assert whole.count(b'"preset"') == 1
    path.write_bytes(whole.replace(b'"preset"', b'"preset#'))

    with pytest.raises(CorruptFile, match=r"history of jobs .*jobs\.sqlite cannot be read.*jobs\.sqlite-wal"):
        JobStore(path).page(1)


def test_the_log_of_a_history_that_was_moved_away_is_not_replayed_into_the_next(
    path: Path, store: JobStore
) -> None:
    store.add(TRAIN)
    log = path.with_name("jobs.sqlite-wal")
    as_a_kill_leaves_it = log.read_bytes()
    store.close()
    path.unlink()
    log.write_bytes(as_a_kill_leaves_it)

    job = JobStore(path).add(REINDEX)

    assert JobStore(path).page(10) == [job]


def test_a_history_that_is_moved_away_under_a_running_service_is_begun_anew(
    path: Path, store: JobStore
) -> None:
    store.add(TRAIN)
    path.rename(path.with_name("moved.sqlite"))
    assert store.page(10) == []

    job = store.add(REINDEX)

    assert store.page(10) == JobStore(path).page(10) == [job]


def test_changing_a_job_where_there_never_was_one_makes_no_file(path: Path, store: JobStore) -> None:
    with pytest.raises(NotFound):
        store.request_cancel("000001-00000000")
    assert not path.exists()


def test_metrics_count_jobs_and_time_the_last(path: Path) -> None:
    seconds = iter((0, 10, 52))
    store = JobStore(path, clock=lambda: datetime(2026, 1, 1, 0, 0, next(seconds), tzinfo=UTC))
    job = store.add(REINDEX)
    store.claim(job.id)
    store.report(job.id, JobProgress("embed", 1, 1), [("start", 2.0), ("embed", 40.0)])
    store.finish(job.id, "succeeded")

    jobs, took = JobMeasures(store).collect()

    counted = {(s.labels["kind"], s.labels["state"]): s.value for s in jobs.samples}
    assert counted[("reindex", "succeeded")] == 1 and sum(counted.values()) == 1
    assert {sample.labels["kind"]: sample.value for sample in took.samples} == {"reindex": 42.0}


def test_one_holds_the_slot_at_a_time(tmp_path: Path) -> None:
    import os

    first = take_slot(tmp_path / "jobs.lock")
    assert first is not None
    assert take_slot(tmp_path / "jobs.lock") is None
    os.close(first)
    second = take_slot(tmp_path / "jobs.lock")
    assert second is not None
    os.close(second)
