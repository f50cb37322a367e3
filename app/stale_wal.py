"""What SQLite keeps beside a database, left by one that is there no more."""

from __future__ import annotations

from pathlib import Path


def remove_stale_wal(database: Path) -> None:
    """Remove the write-ahead log beside the place of a database, where a new one is about to be put.

    A service that is killed leaves its log behind. SQLite goes by names alone, so it would replay the log
    into whatever is put there next.
    """
    for ending in ("-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
