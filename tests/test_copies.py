"""Copies of shared data directories."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.copies import copy_of


def test_what_sqlite_keeps_beside_an_open_database_is_not_copied(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with closing(sqlite3.connect(shared / "jobs.sqlite")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE told (word TEXT)")
        database.commit()
        assert (shared / "jobs.sqlite-wal").exists()
        copied = copy_of(shared, tmp_path / "copy")
    assert [each.name for each in copied.iterdir()] == ["jobs.sqlite"]
