"""Rows that filters have let through, kept within a measure of memory."""

from __future__ import annotations

import numpy as np

from app.kept_rows import KeptRows
from graph_store.arrays import Int64Array


def rows(count: int) -> Int64Array:
    return np.arange(count, dtype=np.int64)


def test_those_who_share_the_memory_do_not_see_each_others_rows() -> None:
    kept = KeptRows()
    one, other = kept.of_one(), kept.of_one()
    one.put("red", rows(3))
    assert other.get("red") is None and one.get("red") is not None


def test_what_was_not_asked_for_longest_makes_room() -> None:
    mine = KeptRows(most_bytes=30_000).of_one()
    for name in ("first", "second"):
        mine.put(name, rows(1500))
    assert mine.get("first") is not None
    mine.put("third", rows(1500))
    assert mine.get("second") is None and mine.get("first") is not None and mine.get("third") is not None


def test_all_together_take_no_more_than_the_measure() -> None:
    kept = KeptRows(most_bytes=30_000)
    for _ in range(20):
        mine = kept.of_one()
        mine.put("red", rows(1500))
    assert kept.bytes <= 30_000


def test_a_long_name_counts_as_well_as_its_rows() -> None:
    kept = KeptRows(most_bytes=30_000)
    mine = kept.of_one()
    for number in range(10):
        mine.put(f"{number}" * 20_000, rows(0))
    assert kept.bytes <= 30_000


def test_rows_put_again_are_counted_once() -> None:
    kept = KeptRows()
    mine = kept.of_one()
    mine.put("red", rows(1500))
    before = kept.bytes
    mine.put("red", rows(1500))
    assert kept.bytes == before


def test_the_newest_stays_even_where_it_alone_is_more() -> None:
    mine = KeptRows(most_bytes=1000).of_one()
    mine.put("red", rows(1500))
    assert mine.get("red") is not None
