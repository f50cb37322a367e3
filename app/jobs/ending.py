"""The end of a job that was stopped, or whose process is gone: what is written down of it."""

from __future__ import annotations

import signal

from app.jobs.job import Job
from app.jobs.store import JobStore
from app.jobs.tracker import StopReason

SERVER_STOPPED = "The server stopped while the job ran"
"""Why a job was interrupted, as long as nobody knows otherwise."""


def stopped(store: JobStore, job_id: str, reason: StopReason, why: str | None = None) -> Job:
    """Write down that the job was stopped, and `why` if it was interrupted: None where the server ended."""
    if reason == "canceled":
        return store.finish(job_id, "canceled")
    error = {
        "type": "urn:imsage:problem:interrupted",
        "detail": f"{why or SERVER_STOPPED}. Resume it to go on.",
    }
    return store.finish(job_id, "failed", error=error, interrupted=True)


def told_to_end(number: int) -> str:
    """Why a process ended that got a signal and stopped its work by itself."""
    return f"Its process was told to end by signal {number}"


def why_it_ended(code: int) -> str:
    """Why a process ended that has not said so itself, by its exit code as :mod:`subprocess` has it."""
    if code == 0:
        return SERVER_STOPPED
    if code > 0:
        return f"Its process ended with code {code}, see the server's log"
    memory = "; the machine may have run out of memory" if -code == signal.SIGKILL else ""
    return f"Its process was ended by signal {-code}{memory}"
