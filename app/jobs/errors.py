"""What can be wrong with asking for a job, or with stopping one."""

from __future__ import annotations

from app.request_errors import RequestError
from graph_store.errors import ImsageError


class JobRunning(ImsageError):
    """One job runs at a time, and one does."""

    code = "job-running"
    status = 409


class JobEnded(ImsageError):
    """The job has ended, so it cannot be canceled."""

    code = "job-ended"
    status = 409


class NotResumable(ImsageError):
    """The job still runs or has succeeded: there is nothing left of it to do."""

    code = "job-not-resumable"
    status = 409


class KeyReused(RequestError):
    """The Idempotency-Key came before, with another request."""

    code = "idempotency-key-reused"
    status = 422
