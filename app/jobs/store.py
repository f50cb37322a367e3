"""The history of jobs in SQLite: what is written has survived a kill, and every process reads the same."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from app.jobs.errors import JobEnded
from app.jobs.job import ACTIVE, Job, JobProgress, Kind, Order, State, utc_now
from app.jobs.schema import COLUMNS, check, job_of, make_if_new, make_tables, new_one
from graph_store.errors import CorruptFile, NotFound
from graph_store.sqlite import Connections, damaged, translating_errors

KEPT = 1000
"""Jobs that the history holds; older ones are forgotten when a new one comes."""

_IS_ACTIVE = f"state IN ({', '.join(repr(state) for state in ACTIVE)})"
Phases = Sequence[tuple[str, float]]
"""(name, seconds) of the phases that a job went through, in order."""


class JobStore:
    """All jobs of one data directory. The file is made with the first job; until then there are none. When it
    is moved away and made anew, that is noticed.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._clock = clock
        self._opened: Connections | None = None
        self._inode: int | None = None
        self._guard = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    # -- reading

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        with self._read() as connection:
            return _job(connection, job_id)

    def page(
        self, limit: int, before: str | None = None, kind: Kind | None = None, state: State | None = None
    ) -> list[Job]:
        """The newest `limit` jobs, the newest first; with `before`, those made before that job. Raises
        NotFound.
        """
        wanted, values = ["1"], list[str]()
        if kind is not None:
            wanted.append("kind = ?")
            values.append(kind)
        if state is not None:
            wanted.append("state = ?")
            values.append(state)
        if before is not None:
            wanted.append(f"number < {self.get(before).number}")
        return self._jobs(f"{' AND '.join(wanted)} ORDER BY number DESC LIMIT {int(limit)}", *values)

    def active(self) -> list[Job]:
        """Those that have not ended: one, or none."""
        return self._jobs(_IS_ACTIVE)

    def with_key(self, key: str) -> Job | None:
        """The job that came with that Idempotency-Key."""
        return next(iter(self._jobs("idempotency_key = ?", key)), None)

    def last(self, kind: Kind, state: State | None = None) -> Job | None:
        """The newest job of that kind, and state."""
        return next(iter(self.page(1, kind=kind, state=state)), None)

    def earlier_phases(self, kind: Kind, parameters: Mapping[str, Any]) -> Phases:
        """The phases of the newest job like this one that succeeded; none when there was none.

        Like it is one of the same preset and, of reindexes, one that was or was not `full` as well. One that
        found nothing to do got no further than its start and tells nothing.
        """
        with self._read() as connection:
            row = connection.execute(
                "SELECT phases FROM job WHERE kind = ? AND state = 'succeeded'"
                " AND json_extract(parameters, '$.preset') IS ? AND json_extract(parameters, '$.full') IS ?"
                " AND json_array_length(phases) > 1 ORDER BY number DESC LIMIT 1",
                (kind, parameters.get("preset"), parameters.get("full")),
            ).fetchone()
            return [(str(name), float(seconds)) for name, seconds in json.loads(row[0])] if row else []

    def seconds_of_last(self, kind: Kind) -> float | None:
        """How long the newest job of that kind took that succeeded, by a clock that only goes on; None when
        there was none.
        """
        with self._read() as connection:
            row = connection.execute(
                "SELECT phases FROM job WHERE kind = ? AND state = 'succeeded' ORDER BY number DESC LIMIT 1",
                (kind,),
            ).fetchone()
            return sum(float(seconds) for _, seconds in json.loads(row[0])) if row else None

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by (kind, state)."""
        with self._read() as connection:
            rows = connection.execute("SELECT kind, state, count(*) FROM job GROUP BY kind, state")
            return {(kind, state): count for kind, state, count in rows.fetchall()}

    def check(self) -> None:
        """Read every page of the file. Raises CorruptFile."""
        with self._read() as connection:
            complaint = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        if complaint != "ok":
            with _about(self._path):
                raise damaged(self._path, complaint)

    # -- writing

    def add(self, order: Order, key: str | None = None) -> Job:
        """A new job, enqueued. For the holder of the slot, who alone makes the file."""
        with _about(self._path):
            make_if_new(self._path)
        with self._write() as connection:
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM job").fetchone()
            job_id = f"{last + 1:06d}-{secrets.token_hex(4)}"
            connection.execute(
                "INSERT INTO job (number, id, kind, parameters, state, created, trigger, resumed_from,"
                " idempotency_key, progress) VALUES (?, ?, ?, ?, 'enqueued', ?, ?, ?, ?, ?)",
                (
                    last + 1,
                    job_id,
                    order.kind,
                    json.dumps(dict(order.parameters)),
                    self._now(),
                    order.trigger,
                    order.resumed_from,
                    key,
                    json.dumps(asdict(JobProgress())),
                ),
            )
            connection.execute("DELETE FROM job WHERE number <= ?", (last + 1 - KEPT,))
            return _job(connection, job_id)

    def claim(self, job_id: str) -> Job:
        """The process of the job has begun."""
        return self._change(job_id, "state = 'processing', started = ?", self._now())

    def report(self, job_id: str, progress: JobProgress, phases: Phases) -> Job:
        """How far it is."""
        return self._change(
            job_id, "progress = ?, phases = ?", json.dumps(asdict(progress)), json.dumps(list(phases))
        )

    def request_cancel(self, job_id: str) -> Job:
        """Ask the process of the job to stop. Raises NotFound, and JobEnded when it has ended otherwise."""
        job = self._change(job_id, "cancel_requested = 1")
        if not job.active and job.state != "canceled":
            raise JobEnded(f"Job {job_id} has {job.state} already, so there is nothing to cancel")
        return job

    def release_key(self, job_id: str) -> Job:
        """Its Idempotency-Key is free again: whoever came with it is told that there is no such job."""
        return self._change(job_id, "idempotency_key = NULL")

    def finish(
        self,
        job_id: str,
        state: State,
        *,
        error: Mapping[str, str] | None = None,
        result: Mapping[str, Any] | None = None,
        interrupted: bool = False,
    ) -> Job:
        """It has ended. Who comes second changes nothing."""
        return self._change(
            job_id,
            "state = ?, ended = ?, error = ?, result = ?, interrupted = ?",
            state,
            self._now(),
            json.dumps(dict(error)) if error else None,
            json.dumps(dict(result)) if result else None,
            int(interrupted),
        )

    # -- inside

    def _change(self, job_id: str, assignments: str, *values: object) -> Job:
        """Change a job that has not ended; one that has stays as it is. Raises NotFound."""
        if not self._path.exists():
            raise _not_found(job_id)
        with self._write() as connection:
            connection.execute(
                f"UPDATE job SET {assignments}, revision = revision + 1 WHERE id = ? AND {_IS_ACTIVE}",
                (*values, job_id),
            )
            return _job(connection, job_id)

    def _jobs(self, condition: str, *values: object) -> list[Job]:
        with self._read() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM job WHERE {condition}", values).fetchall()
            return [job_of(row) for row in rows]

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            # Looking shall make no file: the directory may be one that cannot be written.
            memory = sqlite3.connect(":memory:", isolation_level=None)
            with translating_errors(self._path), closing(memory) as empty:
                make_tables(empty)
                yield empty
            return
        with _about(self._path), self._connections().read() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with _about(self._path), self._connections().write() as connection:
            yield connection

    def _connections(self) -> Connections:
        with self._guard:
            inode = _inode(self._path)
            if self._opened is None or inode != self._inode:
                opened = Connections(self._path)
                with opened.read() as connection:
                    check(connection, self._path)
                # Those of the file before are closed when the last thread that is at work with them has done.
                self._opened, self._inode = opened, inode
            return self._opened


def _inode(path: Path) -> int | None:
    """Which file it is that has the name; None where there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _job(connection: sqlite3.Connection, job_id: str) -> Job:
    row = connection.execute(f"SELECT {COLUMNS} FROM job WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise _not_found(job_id)
    return job_of(row)


def _not_found(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}", hint="GET /v1/jobs lists them.")


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """What is said of a damaged catalogue is wrong of a damaged history."""
    try:
        yield
    except CorruptFile as error:
        raise CorruptFile(
            f"The history of jobs {path} cannot be read",
            path=path,
            hint=new_one(path),
        ) from error
