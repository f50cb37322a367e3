"""Rows that filters have let through, kept for the next page and the next question: so many bytes in all."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from itertools import count

from graph_store.arrays import Int64Array

_MOST_BYTES = 64 * 2**20
_BYTES_OF_AN_ENTRY = 400
"""What keeping anything takes, however short the name and few the rows."""


class KeptRows:
    """Rows by name, apart for each of those that put some here; all of them share one measure of memory.

    When that is full, what was not asked for longest goes first: so does what belongs to one that is no more.
    The newest stays even where it alone is more.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[int, str], Int64Array] = OrderedDict()
        self._bytes = 0
        self._numbers = count()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """How much is kept, the names included."""
        return self._bytes

    def of_one(self) -> RowsOfOne:
        """A place for one filterer's rows."""
        return RowsOfOne(self, next(self._numbers))

    def get(self, owner: int, name: str) -> Int64Array | None:
        """What was kept, if it still is."""
        with self._lock:
            rows = self._kept.get((owner, name))
            if rows is not None:
                self._kept.move_to_end((owner, name))
            return rows

    def put(self, owner: int, name: str, rows: Int64Array) -> None:
        """Keep these rows for a while."""
        with self._lock:
            before = self._kept.pop((owner, name), None)
            if before is not None:
                self._bytes -= _size(name, before)
            self._kept[owner, name] = rows
            self._bytes += _size(name, rows)
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                (_, gone), oldest = self._kept.popitem(last=False)
                self._bytes -= _size(gone, oldest)


class RowsOfOne:
    """What one filterer has in a :class:`KeptRows`."""

    def __init__(self, kept: KeptRows, owner: int) -> None:
        self._kept = kept
        self._owner = owner

    def get(self, name: str) -> Int64Array | None:
        """The rows kept under a name, None where there are none."""
        return self._kept.get(self._owner, name)

    def put(self, name: str, rows: Int64Array) -> None:
        """Keep these rows for a while."""
        self._kept.put(self._owner, name, rows)


def _size(name: str, rows: Int64Array) -> int:
    # Who asks writes the name, a filter as JSON: it may be longer than the rows.
    return rows.nbytes + sys.getsizeof(name) + _BYTES_OF_AN_ENTRY
