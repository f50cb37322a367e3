"""Cursors go out and come back; anything else is refused."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cursor import MAX_DEPTH, BadCursor, Cursor, Position, check_seal, fingerprint


@given(
    seen=st.integers(1, MAX_DEPTH),
    score=st.floats(-2, 2),
    near=st.lists(st.integers(0, 2**40), max_size=5),
    pool=st.integers(0, MAX_DEPTH),
)
def test_a_cursor_comes_back_as_it_went(seen: int, score: float, near: list[int], pool: int) -> None:
    cursor = Cursor("000001-abcdef12", "q", Position(seen, score, tuple(near), pool))
    assert Cursor.decode(cursor.encode(b"key")) == cursor


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), key=st.binary(max_size=4))
def test_a_cursor_that_was_altered_or_made_with_another_key_is_not_ours(
    place: int, bit: int, key: bytes
) -> None:
    text = Cursor("000001-abcdef12", "q", Position(3, 0.5, (1, 2))).encode(b"a key")
    check_seal(text, b"a key")
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[place % len(raw)] ^= 1 << bit
    altered = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    for forged, other in ((altered, b"a key"), (text, key)):
        with pytest.raises(BadCursor):
            check_seal(forged, other)


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
