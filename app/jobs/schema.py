"""The table of jobs: how it is made, recognised and read."""

from __future__ import annotations

import json
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from app.jobs.job import Job, JobProgress
from app.stale_wal import remove_stale_wal
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable
from graph_store.errors import BadInput, CorruptFile
from graph_store.sqlite import translating_errors
from graph_store.versions import way_out

SCHEMA_VERSION = 1
APPLICATION_ID = 0x494D4A42
"""`IMJB`: tells the history of jobs from any other SQLite file."""

COLUMNS = (
    "number, id, kind, parameters, state, created, started, ended, trigger, resumed_from, "
    "cancel_requested, interrupted, error, result, progress, revision"
)
_TABLES = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    parameters TEXT NOT NULL,
    state TEXT NOT NULL,
    created TEXT NOT NULL,
    started TEXT,
    ended TEXT,
    trigger TEXT NOT NULL,
    resumed_from TEXT,
    idempotency_key TEXT UNIQUE,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    result TEXT,
    progress TEXT NOT NULL,
    phases TEXT NOT NULL DEFAULT '[]',
    revision INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX job_by_state ON job (state)
"""


def make_if_new(path: Path) -> None:
    """Create the file unless it is there. It is made aside, so that nobody ever reads half of it.

    For the holder of the slot: two who make it at once could take each other's log away. Raises Unwritable.
    """
    if path.exists():
        return
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with refusing_unwritable(path), translating_errors(path):
        try:
            with closing(sqlite3.connect(aside, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                make_tables(connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            fsync_file(aside)
            remove_stale_wal(path)
            with suppress(FileExistsError):  # another process was quicker
                path.hardlink_to(aside)
        finally:
            aside.unlink(missing_ok=True)
        fsync_dir(path.parent)


def make_tables(connection: sqlite3.Connection) -> None:
    """The table and its index, in an empty database."""
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises CorruptFile when the file is something else, BadInput when a newer imsage made it."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise CorruptFile(f"{path} is not a history of jobs", path=path, hint=new_one(path))
    if version != SCHEMA_VERSION:
        raise BadInput(
            f"The history of jobs {path} has schema version {version}; this imsage reads {SCHEMA_VERSION}",
            hint=way_out(version, SCHEMA_VERSION, new_one(path)),
        )


def new_one(path: Path) -> str:
    """What to do about a history that cannot be read. What SQLite keeps beside it belongs to it."""
    return (
        f"Stop the service and move {path.name}, {path.name}-wal and {path.name}-shm away: a new history is"
        " begun, and nothing else depends on it."
    )


def job_of(row: tuple[Any, ...]) -> Job:
    """The job in a row of `COLUMNS`."""
    (number, id_, kind, parameters, state, created, started, ended, trigger, resumed_from) = row[:10]
    (cancel_requested, interrupted, error, result, progress, revision) = row[10:]
    return Job(
        number=number,
        id=id_,
        kind=kind,
        parameters=json.loads(parameters),
        state=state,
        created=created,
        started=started,
        ended=ended,
        trigger=trigger,
        resumed_from=resumed_from,
        cancel_requested=bool(cancel_requested),
        interrupted=bool(interrupted),
        error=json.loads(error) if error else None,
        result=json.loads(result) if result else None,
        progress=JobProgress(**json.loads(progress)),
        revision=revision,
    )
