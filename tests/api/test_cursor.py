"""Cursors go out and come back; anything else is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cursor import MAX_DEPTH, BadCursor, Cursor, Position, fingerprint


@given(
    seen=st.integers(1, MAX_DEPTH),
    score=st.floats(-2, 2),
    near=st.lists(st.integers(0, 2**40), max_size=5),
    pool=st.integers(0, MAX_DEPTH),
)
def test_a_cursor_comes_back_as_it_went(seen: int, score: float, near: list[int], pool: int) -> None:
    cursor = Cursor("000001-abcdef12", "q", Position(seen, score, tuple(near), pool))
    assert Cursor.decode(cursor.encode()) == cursor


@pytest.mark.parametrize(
    "text", ["", "x", "!!!", "AAAA", "bnVsbA", "W10", "WyJhIiwiYiIsMCwwLjAsW10sMF0", "é", "\x00"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Cursor.decode(text)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    with contextlib.suppress(BadCursor):
        Cursor.decode(data.decode("latin-1"))


def test_parts_of_a_question_do_not_run_together() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
