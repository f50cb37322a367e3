"""Starts jobs, watches over their processes, and tidies up after those that ended without a word.

Several server processes may share a data directory: whichever gets the slot starts the job, all of them can
report it and cancel it.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from app.jobs.ending import SERVER_STOPPED, stopped, why_it_ended
from app.jobs.errors import JobRunning, KeyReused, NotResumable
from app.jobs.job import Job, Order
from app.jobs.places import jobs_path, slot_path
from app.jobs.process import GRACE_SECONDS
from app.jobs.slot import take_slot
from app.jobs.store import JobStore
from app.jobs.tracker import StopReason
from app.own_process import command, environment
from app.settings import Settings
from app.tidying import tidy_up
from graph_store.errors import ImsageError, NothingToServe

_SLOT_WAIT_SECONDS = 2.0
_LOOK_SECONDS = 0.02
_WATCH_SECONDS = 1.0
_PATIENCE_SECONDS = 3 * GRACE_SECONDS
"""After this a process that was told to stop, and should have ended itself, is killed."""


@dataclass(frozen=True)
class Submitted:
    """`replayed`: the Idempotency-Key was known, and this is the job it made."""

    job: Job
    replayed: bool


@dataclass(frozen=True)
class _Watched:
    """The job of a process that was started here, and the thread that waits for its end."""

    job_id: str
    watcher: threading.Thread


class JobRunner:
    """The jobs of one data directory, as one server process sees them. Any thread may call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slot_path = slot_path(settings.data_dir)
        self.store = JobStore(jobs_path(settings.data_dir))
        self._guard = threading.Lock()
        self._processes: dict[subprocess.Popen[bytes], _Watched] = {}
        self._closing = False

    # -- asking

    def submit(
        self, order: Order, key: str | None = None, wanted: Callable[[], bool] = lambda: True
    ) -> Submitted | None:
        """Start a job, or find the one that the same `key` made before.

        `wanted` is asked when nobody else can start one any more; None is returned when it says no. Raises
        JobRunning, KeyReused, DataDirBusy, NothingToServe when there is no catalogue, Unwritable.
        """
        if not self._settings.data_dir.catalog_path.exists():
            raise NothingToServe(
                f"There is no catalogue in {self._settings.data}", hint="Run imsage ingest first."
            )
        descriptor = self._slot_or_replay(order, key)
        if isinstance(descriptor, Submitted):
            return descriptor
        try:
            self._settle()
            if not wanted():
                return None
            replay = self._replay(order, key)  # it may have come and gone before the slot was got
            if replay is not None:
                return replay
            with self._settings.data_dir.lock("start a job"):
                pass  # who works on the catalogue now would only make the job fail
            job = self.store.add(order, key)
            self._start(job, descriptor)
        finally:
            os.close(descriptor)
        structlog.get_logger().info("job_enqueued", job=job.id, kind=job.kind, trigger=job.trigger)
        return Submitted(job, replayed=False)

    def resume(self, job_id: str, key: str | None = None) -> Submitted:
        """A new job that goes on where that one stopped. Raises NotFound, NotResumable, and as `submit`."""
        job = self.store.get(job_id)
        parameters = dict(job.parameters)
        if "resume" in parameters:
            parameters["resume"] = True
        order = Order(job.kind, parameters, resumed_from=job.id)
        if not job.resumable:
            raise NotResumable(
                f"Job {job_id} is {job.state}, so there is nothing to resume",
                hint="Jobs that failed, were interrupted or were canceled can be resumed.",
            )
        submitted = self.submit(order, key)
        assert submitted is not None  # only `wanted` makes it so
        return submitted

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop. Raises NotFound, and JobEnded when it has succeeded or failed."""
        self.store.request_cancel(job_id)
        self.settle()
        return self.store.get(job_id)

    # -- watching

    def start(self) -> None:
        """Mark what an earlier server has left behind. A directory that cannot be written is served all the
        same.
        """
        try:
            self.settle()
        except ImsageError as error:
            structlog.get_logger().error("jobs_unknown", reason=str(error))

    def settle(self) -> None:
        """Mark the jobs whose process is gone. Does nothing while a job runs, in whichever process."""
        if self.store.active():
            with self._slot() as mine:
                if mine:
                    self._settle()

    def close(self) -> None:
        """Stop the jobs that this process started: they end as interrupted and can be resumed."""
        self._closing = True
        with self._guard:
            running = dict(self._processes)
        for process in running:
            _close_input(process)
        for process, watched in running.items():
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            watched.watcher.join()
        self.store.close()

    # -- inside

    def _slot_or_replay(self, order: Order, key: str | None) -> int | Submitted:
        until = time.monotonic() + _SLOT_WAIT_SECONDS
        while True:
            replay = self._replay(order, key)
            if replay is not None:
                return replay
            descriptor = take_slot(self._slot_path)
            if descriptor is not None:
                return descriptor
            running = self.store.active()
            late = time.monotonic() > until
            if running or late:
                # The job that is in the way may be the one that the same key has made meanwhile.
                replay = self._replay(order, key)
                if replay is not None:
                    return replay
            for job in running:
                raise JobRunning(
                    f"Job {job.id} ({job.kind}) is {job.state}",
                    hint="Wait until it has ended, or cancel it.",
                )
            if late:
                raise JobRunning("Another job is just beginning or ending", hint="Try again.")
            time.sleep(_LOOK_SECONDS)

    def _replay(self, order: Order, key: str | None) -> Submitted | None:
        """What the same key has made before. Raises KeyReused."""
        earlier = self.store.with_key(key) if key is not None else None
        return None if earlier is None else _replayed(order, earlier)

    @contextmanager
    def _slot(self) -> Iterator[bool]:
        """Whether the slot was free; then nobody else gets it before the block ends."""
        descriptor = take_slot(self._slot_path)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _settle(self) -> None:
        """To be called by the holder of the slot: then no job that is active has a process."""
        for job in self.store.active():
            self._mark_ended(job)
            self._tidy(always=True)

    def _mark_ended(self, job: Job) -> None:
        """Its process is gone and has not said how it ended."""
        reason: StopReason = "canceled" if job.cancel_requested else "interrupted"
        ended = stopped(self.store, job.id, reason, self._why_it_ended(job.id))
        structlog.get_logger().warning("job_ended", job=job.id, state=ended.state, interrupted=True)

    def _why_it_ended(self, job_id: str) -> str:
        """In words; that of a process which was started here and not stopped with the server is known."""
        with self._guard:
            mine = [process for process, watched in self._processes.items() if watched.job_id == job_id]
        if self._closing or not mine:
            return SERVER_STOPPED
        try:
            return why_it_ended(mine[0].wait(_WATCH_SECONDS))
        except subprocess.TimeoutExpired:
            return SERVER_STOPPED

    def _start(self, job: Job, descriptor: int) -> None:
        try:
            process = subprocess.Popen(
                command("app.jobs.process", job.id, str(descriptor)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=self._environment(),
                pass_fds=(descriptor,),
                start_new_session=True,  # Ctrl-C is for the server, which then stops its job
            )
        except OSError as error:
            detail = f"Its process cannot be started: {error}"
            self.store.release_key(job.id)  # who asked is told to try again, and shall get a job then
            self.store.finish(
                job.id, "failed", error={"type": "urn:imsage:problem:internal-error", "detail": detail}
            )
            raise
        watcher = threading.Thread(target=self._watch, args=(process, job.id), daemon=True)
        with self._guard:
            self._processes[process] = _Watched(job.id, watcher)
        watcher.start()

    def _environment(self) -> dict[str, str]:
        return {
            **environment(),
            **self._settings.to_environment(),
            # The service gives each search one thread; a job has the cores that the service can spare.
            "OMP_NUM_THREADS": str(job_threads(self._settings.job_threads)),
        }

    def _watch(self, process: subprocess.Popen[bytes], job_id: str) -> None:
        patience: float | None = None
        while True:
            try:
                process.wait(_WATCH_SECONDS)
                break
            except subprocess.TimeoutExpired:
                pass
            try:
                asked = self.store.get(job_id).cancel_requested
            except ImsageError:
                continue
            if asked:
                patience = patience or time.monotonic() + _PATIENCE_SECONDS
                if time.monotonic() > patience:
                    process.kill()
        _close_input(process)
        try:
            left = self.store.get(job_id)
            if left.active:
                # Here, where it is known how, and not by whoever gets the slot next.
                self._mark_ended(left)
            with self._slot() as mine:
                if mine:
                    self._settle()
                    self._tidy(always=left.active)
            job = self.store.get(job_id)
            structlog.get_logger().info(
                "job_ended", job=job_id, state=job.state, exit_code=process.returncode, error=job.error
            )
        except ImsageError as error:
            structlog.get_logger().error("job_end_unknown", job=job_id, reason=str(error))
        with self._guard:
            del self._processes[process]

    def _tidy(self, always: bool = False) -> None:
        """Remove what a job that was ended at once has left half-written. To be called by the holder of the
        slot, so that it is in no job's way.
        """
        tidy_up(self._settings.data_dir, always)


def job_threads(setting: int) -> int:
    """The threads of a job; 0 is all cores but one, so that the service keeps one."""
    return setting or max(1, (os.cpu_count() or 2) - 1)


def _replayed(order: Order, earlier: Job) -> Submitted:
    if not order.same_work(earlier):
        raise KeyReused(
            f"The Idempotency-Key came before, with another request: it made job {earlier.id}",
            hint="Give every request a key of its own.",
            errors=[("#header/Idempotency-Key", "it belongs to another request")],
        )
    return Submitted(earlier, replayed=True)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
