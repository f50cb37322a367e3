"""Filters over a snapshot and what was written since."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.filtering import Clause, FilterIndex, RowFilter
from app.kept_rows import KeptRows
from app.live.state import LiveFilters
from graph_store.records import ImageRecord

ODD = RowFilter(must=(Clause("odd", "match", True),))


def base_of(count: int, kept: KeptRows) -> FilterIndex:
    """Rows of which every other one is odd."""
    nothing = np.zeros(0, dtype=np.int64)
    return FilterIndex(
        num_rows=count,
        rows_of_tag=lambda name: nothing,
        tagged=lambda: nothing,
        attributes=lambda: ({"odd": row % 2 == 1} for row in range(count)),
        kept=kept,
    )


def delta_of(removed: list[int], beside: dict[int, bool]) -> Any:
    """Removed rows, and rows beside the snapshot that are odd or not."""
    images = tuple(
        SimpleNamespace(record=ImageRecord(id=f"{row}", attributes={"odd": odd}))
        for row, odd in beside.items()
    )
    rows = np.array(list(beside), dtype=np.int64)
    pictures = SimpleNamespace(rows=rows, removed=np.array(removed, dtype=np.int64))
    return SimpleNamespace(images=images, pictures=pictures)


@pytest.fixture
def kept() -> KeptRows:
    return KeptRows()


def test_removed_rows_do_not_pass_and_those_beside_do(kept: KeptRows) -> None:
    filters = LiveFilters(base_of(8, kept), delta_of([2, 3], {9: True, 11: False, 12: True}), kept)
    assert filters.allowed(ODD, "odd").tolist() == [1, 5, 7, 9, 12]
    known = filters.known("odd")
    assert known is not None and known.tolist() == [1, 5, 7, 9, 12]


def test_what_the_delta_does_not_change_is_not_copied(kept: KeptRows) -> None:
    base = base_of(8, kept)
    filters = LiveFilters(base, delta_of([2], {9: False}), kept)
    assert filters.allowed(ODD, "odd") is base.allowed(ODD, "odd")


def test_making_filters_reads_nothing_of_the_delta(kept: KeptRows) -> None:
    class Unread:
        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"{name} of the delta was read")

    unread: Any = Unread()
    assert LiveFilters(base_of(8, kept), unread, kept).known("odd") is None
