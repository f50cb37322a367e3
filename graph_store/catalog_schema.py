"""The tables of the catalogue, how they are made and how they are recognised."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable
from graph_store.errors import BadInput, CorruptFile, NothingToServe
from graph_store.sqlite import Connections, damaged, translating_errors
from graph_store.versions import way_out

SCHEMA_VERSION = 2
"""1 had no revisions. It is read as it is, and brought up to date by the first write."""

APPLICATION_ID = 0x494D5347
"""`IMSG`: tells our files from any other SQLite file."""

QUICK_CHECK_LIMIT = 64 * 1024 * 1024
"""Bytes up to which opening checks every page (about 0.1 s at the limit); larger files are checked by
`verify`.
"""

_TABLES = """
CREATE TABLE image (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    row INTEGER NOT NULL UNIQUE,
    path TEXT,
    split TEXT NOT NULL CHECK (split IN ('train', 'test')),
    caption TEXT,
    attributes TEXT NOT NULL,
    sha256 TEXT,
    width INTEGER,
    height INTEGER,
    fingerprint TEXT
);
CREATE TABLE tag (
    pk INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE
);
CREATE TABLE image_tag (
    image INTEGER NOT NULL REFERENCES image (pk) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    tag INTEGER NOT NULL REFERENCES tag (pk),
    weight REAL NOT NULL,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE UNIQUE INDEX image_tag_by_tag ON image_tag (tag, image);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE skip (
    pk INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    source TEXT NOT NULL,
    line INTEGER,
    reason TEXT NOT NULL,
    item TEXT NOT NULL
);
CREATE INDEX skip_by_run ON skip (run);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('next_row', 0);
"""

_SINCE_VERSION_2 = """
CREATE TABLE change (id TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX change_by_revision ON change (revision);
CREATE INDEX image_by_sha256 ON image (sha256);
INSERT INTO counter VALUES ('revision', 0);
"""


def make_if_new(path: Path) -> None:
    """Create the tables unless they are there. A kill at any point leaves a file that the next call
    completes.
    """
    with refusing_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with translating_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                # Looked at again inside the transaction: two processes may start at the same time.
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                    for statement in (_TABLES + _SINCE_VERSION_2).split(";\n"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("COMMIT")
        finally:
            connection.close()
    with refusing_unwritable(path):
        fsync_dir(path.parent)


def check(connections: Connections, *, again: bool = False) -> None:
    """Refuse what is no catalogue of this version. again: its pages need not be read.

    Raises NothingToServe when it was never made, CorruptFile when it is damaged or something else, BadInput
    when a newer imsage made it.
    """
    path = connections.path
    if not path.exists():
        raise _never_made(path)
    with connections.read() as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if tables == 0:
        raise _never_made(path)
    if application_id != APPLICATION_ID:
        raise CorruptFile(f"{path} is not a catalogue of imsage", path=path)
    if not 1 <= version <= SCHEMA_VERSION:
        raise BadInput(
            f"The catalogue {path} has schema version {version}, and this imsage reads {SCHEMA_VERSION}",
            hint=way_out(version, SCHEMA_VERSION, "Ingest anew into another data directory."),
        )
    if not again and path.stat().st_size <= QUICK_CHECK_LIMIT:
        check_pages(connections)


def bring_up_to_date(connections: Connections) -> None:
    """Add what this version has and an older one had not. A copy of the older file is kept beside it.

    Raises Unwritable when there is no room for the copy; then nothing has changed.
    """
    with connections.read() as connection:
        version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    _keep_copy(connections, version)
    with connections.write() as connection:
        # Looked at again inside the transaction: another process may have come first.
        if _version(connection) == 1:
            for statement in _SINCE_VERSION_2.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _keep_copy(connections: Connections, version: int) -> None:
    path = connections.path
    copy = path.with_name(f"{path.name}.v{version}")
    unfinished = path.with_name(f".{copy.name}.tmp")
    with refusing_unwritable(copy), translating_errors(copy):
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished)) as target:
            connections.mine().backup(target)
        fsync_file(unfinished)
        unfinished.replace(copy)
        fsync_dir(path.parent)


def check_pages(connections: Connections, whole: bool = False) -> None:
    """Read every page of the database, and with `whole` compare indexes with their tables, which takes
    longer. Raises CorruptFile with SQLite's first complaint.
    """
    with connections.read() as connection:
        pragma = "integrity_check" if whole else "quick_check"
        complaint = str(connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0])
    if complaint != "ok":
        raise damaged(connections.path, complaint.replace("\n", " "))


def _never_made(path: Path) -> NothingToServe:
    return NothingToServe(f"There is no catalogue at {path}", hint="Run imsage ingest first.")
