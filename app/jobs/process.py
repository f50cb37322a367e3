"""The process of one job: `python -m app.jobs.process JOB_ID DESCRIPTOR`, started by `runner`.

Its settings come from its environment. Its standard input is a pipe that its server holds open: when the
server ends in any way the pipe ends too, and so does the job.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import structlog

from app.jobs.ending import stopped, told_to_end
from app.jobs.places import jobs_path
from app.jobs.store import JobStore
from app.jobs.tracker import Stopped, Tracker
from app.jobs.work import do_work
from app.logs import configure_logs
from app.settings import Settings, load_settings
from graph_store.errors import ImsageError
from graph_store.exhaustion import exhausted

GRACE_SECONDS = 3.0
"""How long the work may take to reach a point where it can stop by itself; then the process ends at once."""

_PULSE_SECONDS = 0.25
_STDIN = 0
_FAULT = {
    "type": "urn:imsage:problem:internal-error",
    "detail": "Something went wrong inside the job. The server's log says more under this job's id.",
}


class Pulse(threading.Thread):
    """Writes down how far the job is, four times a second, and looks whether it shall stop."""

    def __init__(self, store: JobStore, job_id: str, tracker: Tracker) -> None:
        super().__init__(name="pulse", daemon=True)
        self._store = store
        self._job_id = job_id
        self._tracker = tracker
        self._over = threading.Event()
        self._told_to_stop: float | None = None
        self._written: object = None

    def end(self) -> None:
        """No more pulses after this."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until `end`, or until the work has not stopped in time."""
        while not self._over.is_set():
            # First, and without the history: a job that cannot be written down is to stop all the same.
            self._end_if_late()
            try:
                self._beat()
            except ImsageError as error:
                # The work may well go on: what it writes may lie on another disk.
                structlog.get_logger().error("job_progress_lost", job=self._job_id, reason=str(error))
            self._wait()

    def _beat(self) -> None:
        progress = self._tracker.progress()
        if progress != self._written:
            job = self._store.report(self._job_id, progress, self._tracker.phases())
            self._written = progress
        else:
            job = self._store.get(self._job_id)
        if job.cancel_requested:
            self._tracker.stop("canceled")

    def _end_if_late(self) -> None:
        reason = self._tracker.stop_reason
        if reason is None:
            return
        now = time.monotonic()
        self._told_to_stop = self._told_to_stop or now
        if now - self._told_to_stop > GRACE_SECONDS:
            # A kill at any point leaves whole files, so this is safe, only less tidy. Where the end cannot be
            # written down, the server does it.
            with suppress(ImsageError):
                stopped(self._store, self._job_id, reason, self._tracker.why_stopped)
            os._exit(0)

    def _wait(self) -> None:
        if self._tracker.stop_reason is not None:
            self._over.wait(_PULSE_SECONDS)
            return
        readable, _, _ = select.select([_STDIN], [], [], _PULSE_SECONDS)
        if readable and not os.read(_STDIN, 4096):
            self._tracker.stop("interrupted")


def _told(error: ImsageError) -> dict[str, str]:
    return {"type": f"urn:imsage:problem:{error.code}", "detail": str(error)}


def run_job(settings: Settings, job_id: str) -> None:
    """From claim to end. What goes wrong stands in the job."""
    store = JobStore(jobs_path(settings.data_dir))
    job = store.claim(job_id)
    tracker = Tracker(store.earlier_phases(job.kind, job.parameters))

    def on_signal(number: int, _frame: FrameType | None) -> None:
        tracker.stop("interrupted", told_to_end(number))

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    pulse = Pulse(store, job_id, tracker)
    pulse.start()
    log = structlog.get_logger()
    try:
        result = do_work(job.kind, job.parameters, settings, tracker)
    except Stopped as stop:
        pulse.end()
        stopped(store, job_id, stop.reason, tracker.why_stopped)
    except ImsageError as error:
        pulse.end()
        store.finish(job_id, "failed", error=_told(error))
    except Exception as error:
        pulse.end()
        lacking = exhausted(error)
        log.error("job_fault", job=job_id, exc_info=lacking is None, reason=str(error))
        store.finish(job_id, "failed", error=_FAULT if lacking is None else _told(lacking))
    else:
        pulse.end()
        counts = result.get("counts", {})
        left_out = {name: counts.get(name, 0) for name in ("skipped", "failed")}
        store.report(job_id, replace(tracker.progress(), **left_out), tracker.phases())
        store.finish(job_id, "succeeded", result=result)


def step_back(nice: int, autogroup: Path = Path("/proc/self/autogroup")) -> None:
    """Let this process come after the others that want the processor.

    Linux with autogroup shares it between sessions before it looks at the processes in them, and a job has
    a session of its own: there the nice value alone would take nothing from it. See sched(7).
    """
    os.nice(nice)
    with suppress(OSError):
        if autogroup.exists():
            autogroup.write_text(str(nice), encoding="ascii")


def main(arguments: Sequence[str]) -> None:
    """The process's entry point."""
    job_id, descriptor = arguments[0], int(arguments[1])
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    os.set_inheritable(descriptor, False)
    step_back(settings.job_nice)
    run_job(settings, job_id)
    sys.stderr.flush()
    # Everything is written. Taking PyTorch down in order takes seconds that a stopping server would wait for.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
