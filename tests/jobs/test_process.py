"""The pulse of a job stops the work in time, also where nothing can be written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs import process as process_module
from app.jobs.job import Job, JobProgress, Order
from app.jobs.process import Pulse
from app.jobs.store import JobStore, Phases
from app.jobs.tracker import Tracker
from graph_store.errors import Unwritable


class FullDisk(JobStore):
    """A history that takes nothing any more."""

    def report(self, job_id: str, progress: JobProgress, phases: Phases) -> Job:
        raise Unwritable("the disk is full")

    def finish(self, *_: object, **__: object) -> Job:
        raise Unwritable("the disk is full")


class Ended(BaseException):
    """In place of the end of the process."""


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
