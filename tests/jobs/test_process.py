"""The pulse of a job stops the work in time, also where nothing can be written down."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs import process as process_module
from app.jobs.job import Job, JobProgress, Order
from app.jobs.places import jobs_path
from app.jobs.process import Pulse, run_job
from app.jobs.store import JobStore, Phases
from app.jobs.tracker import Tracker
from app.settings import Settings
from graph_store.errors import Unwritable
from graph_store.progress import Progress


class FullDisk(JobStore):
    """A history that takes nothing any more."""

    def report(self, job_id: str, progress: JobProgress, phases: Phases) -> Job:
        raise Unwritable("the disk is full")

    def finish(self, *_: object, **__: object) -> Job:
        raise Unwritable("the disk is full")


class Ended(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def told_by_nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server is there: what it holds open tells nothing. Signals are those of before afterwards."""
    listening, held = os.pipe()
    monkeypatch.setattr(process_module, "_STDIN", listening)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    os.close(listening)
    os.close(held)


@pytest.mark.usefixtures("told_by_nobody")
def test_a_job_whose_process_is_told_to_end_says_so_and_not_that_the_server_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=tmp_path)
    store = JobStore(jobs_path(settings.data_dir))
    job = store.add(Order("reindex", {"full": False, "preset": None}))

    def work(_kind: str, _parameters: object, _settings: Settings, progress: Progress) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTERM)
        with progress.phase("more of it", 1) as advance:
            advance(1)
        return {}

    monkeypatch.setattr(process_module, "do_work", work)
    run_job(settings, job.id)

    ended = store.get(job.id)
    assert (ended.state, ended.interrupted) == ("failed", True)
    assert ended.error is not None
    assert "told to end by signal 15" in ended.error["detail"]


def end(_code: int) -> None:
    raise Ended


def test_a_job_that_cannot_write_its_progress_ends_when_it_does_not_stop_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = JobStore(tmp_path / "jobs.sqlite").add(Order("reindex", {"full": False, "preset": None}))
    tracker = Tracker()
    tracker.stop("interrupted")
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr("os._exit", end)

    with pytest.raises(Ended):
        Pulse(FullDisk(tmp_path / "jobs.sqlite"), job.id, tracker).run()
