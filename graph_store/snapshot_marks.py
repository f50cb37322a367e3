"""Which snapshots were made of a catalogue: each leaves a mark in it.

Revisions alone do not tell. A catalogue that was put back to an older copy gives out again the numbers that
it had given out after that copy, and once it has passed the number of a snapshot that was made in between,
it looks as if that snapshot knew all of them. The copy has not the snapshot's mark.
"""

from __future__ import annotations

import secrets

from graph_store.catalog import Catalog

_MARKS = "snapshot_marks"
_KEPT = 100
"""More than snapshots are kept; a snapshot without its mark costs a little work, and no answer."""


def leave_mark(catalog: Catalog) -> str:
    """A new mark, which is in the catalogue from now on. For the holder of the lock of reindexes, after what
    the snapshot is made from was read: whoever has the mark then has all of it too. Raises Unwritable.
    """
    mark = secrets.token_hex(8)
    catalog.set_meta(_MARKS, [*_marks(catalog), mark][-_KEPT:])
    return mark


def has_mark(catalog: Catalog, mark: str) -> bool:
    """Whether the mark was left in this catalogue, or in the one that it is a copy of."""
    return mark in _marks(catalog)


def _marks(catalog: Catalog) -> list[str]:
    return list(catalog.meta(_MARKS) or [])
