"""Which pictures of sources were removed from the catalogue while their sources may still have them.

The table is made by the first removal: other catalogues do without, and an older imsage passes it over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from graph_store.catalog_rows import chunks

_TABLE = "CREATE TABLE IF NOT EXISTS removed (id TEXT PRIMARY KEY) WITHOUT ROWID"


def remember(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """To be called inside the transaction that removes the images, before it does. What no ingestion has
    stored comes from no source, and is not remembered.
    """
    connection.execute(_TABLE)
    query = "INSERT OR IGNORE INTO removed SELECT id FROM image WHERE id = ? AND fingerprint IS NOT NULL"
    connection.executemany(query, [(image_id,) for image_id in ids])


def forget(connection: sqlite3.Connection, ids: Iterable[str]) -> frozenset[str]:
    """Which of the ids were remembered; they are no more. Inside the transaction that stores them again."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'removed'"
    if connection.execute(query).fetchone() is None:
        return frozenset()
    found: list[str] = []
    for some in chunks(ids):
        marks = ",".join("?" * len(some))
        rows = connection.execute(f"SELECT id FROM removed WHERE id IN ({marks})", some)
        found += [row[0] for row in rows]
    connection.executemany("DELETE FROM removed WHERE id = ?", [(image_id,) for image_id in found])
    return frozenset(found)
