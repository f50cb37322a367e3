"""Which images were written or removed since when, by a number that only grows: no clock is asked.

Every write of an image takes the next revision. The table `change` holds the latest revision of each id; an
id that is there and has no image was removed. A snapshot records the revision that it was made from, so what
came after it is what a search must add to it, hide or replace.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graph_store.records import ImageRecord


@dataclass(frozen=True)
class Change:
    """The latest change of one image; `record` is None where it was removed."""

    revision: int
    record: ImageRecord | None


@dataclass(frozen=True)
class Changes:
    """What changed after a revision: `revision` is the newest there is, `by_id` in the order of writing."""

    revision: int
    by_id: Mapping[str, Change] = field(default_factory=dict)


def newest(connection: sqlite3.Connection) -> int:
    """The newest revision; 0 before the first write, and in a catalogue that was made before there were
    revisions.
    """
    row = connection.execute("SELECT value FROM counter WHERE name = 'revision'").fetchone()
    return 0 if row is None else int(row[0])


def note(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Give each of the ids the next revision, inside the transaction that writes or removes the images."""
    last = newest(connection)
    rows = [(image_id, last + 1 + place) for place, image_id in enumerate(ids)]
    connection.executemany("INSERT OR REPLACE INTO change (id, revision) VALUES (?, ?)", rows)
    connection.execute("UPDATE counter SET value = ? WHERE name = 'revision'", (last + len(rows),))


def revisions_after(connection: sqlite3.Connection, since: int) -> dict[str, int]:
    """Revision by id of what changed after `since`, in order."""
    if newest(connection) <= since:
        return {}
    query = "SELECT id, revision FROM change WHERE revision > ? ORDER BY revision"
    return dict(connection.execute(query, (since,)))


def count_after(connection: sqlite3.Connection, since: int) -> int:
    """How many images changed after `since`."""
    if newest(connection) <= since:
        return 0
    return int(connection.execute("SELECT count(*) FROM change WHERE revision > ?", (since,)).fetchone()[0])


def forget(connection: sqlite3.Connection, upto: int) -> None:
    """Drop what nobody will ask about any more: changes up to that revision."""
    connection.execute("DELETE FROM change WHERE revision <= ?", (upto,))
    known = max(upto, forgotten(connection))
    connection.execute("INSERT OR REPLACE INTO counter (name, value) VALUES ('forgotten', ?)", (known,))


def forgotten(connection: sqlite3.Connection) -> int:
    """The revision up to which changes have been dropped; 0 where none ever were, or by an older imsage."""
    row = connection.execute("SELECT value FROM counter WHERE name = 'forgotten'").fetchone()
    return 0 if row is None else int(row[0])
