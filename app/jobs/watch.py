"""A thread of each server process that marks jobs whose process is gone and starts what the schedule says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from app.jobs.errors import JobRunning
from app.jobs.job import Job, Order, utc_now
from app.jobs.runner import JobRunner
from app.jobs.schedule import IndexAge, Schedule
from graph_store.errors import DataDirBusy, ImsageError

_LOOK_SECONDS = 5.0
_SCHEDULED = Order("reindex", {"full": False, "preset": None}, trigger="schedule")


class JobWatch:
    """`age` tells what the index is behind by; None where there is no index yet."""

    def __init__(
        self,
        runner: JobRunner,
        schedule: Schedule,
        age: Callable[[], IndexAge | None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._runner = runner
        self._schedule = schedule
        self._age = age
        self._clock = clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job watch", daemon=True)

    def start(self) -> None:
        """Look now and then, until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> Job | None:
        """One look; the job that it has started, if any. Raises ImsageError."""
        self._runner.settle()
        if not self._due():
            return None
        # Several servers may find it due at once: who gets the slot looks again.
        submitted = self._runner.submit(_SCHEDULED, wanted=self._due)
        return None if submitted is None else submitted.job

    def _due(self) -> bool:
        if not self._schedule.on:
            return False
        age = self._age()
        if age is None:
            return False
        return self._schedule.due(self._clock(), age, self._runner.store.last("reindex"))

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self.look()
            except (DataDirBusy, JobRunning):
                continue  # it stays due
            except Exception as error:
                # Whatever it was: without this thread nothing is due any more until the server starts again.
                structlog.get_logger().error(
                    "job_watch", reason=str(error), exc_info=not isinstance(error, ImsageError)
                )
