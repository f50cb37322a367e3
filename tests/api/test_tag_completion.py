"""Completing tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tag_completion import TagCompletion
from graph_store.errors import BadInput

NAMES = ["Dog", "hot dog", "doghouse", "cat", "École de danse"]
COUNTS = [5, 9, 2, 30, 1]


@pytest.fixture
def completion() -> TagCompletion:
    return TagCompletion(NAMES, COUNTS)


def test_nothing_typed_gives_the_most_used(completion: TagCompletion) -> None:
    assert completion.find("", 2) == [("cat", 30), ("hot dog", 9)]


def test_the_beginning_of_the_tag_comes_before_that_of_a_later_word(completion: TagCompletion) -> None:
    assert completion.find("DO", 10) == [("Dog", 5), ("doghouse", 2), ("hot dog", 9)]
    assert completion.find("do", 1) == [("Dog", 5)]


def test_letters_with_accents_are_found_in_either_form(completion: TagCompletion) -> None:
    assert completion.find("e\u0301cole d", 5) == [("École de danse", 1)]


def test_an_unknown_beginning_finds_nothing(completion: TagCompletion) -> None:
    assert completion.find("zebra", 5) == []


def test_a_lone_surrogate_is_refused(completion: TagCompletion) -> None:
    with pytest.raises(BadInput):
        completion.find("\ud800", 5)


WORDS = st.text("abA", min_size=1, max_size=3)


@given(
    tags=st.dictionaries(
        st.lists(WORDS, min_size=1, max_size=3).map(" ".join), st.integers(0, 3), max_size=12
    ),
    prefix=st.text("abA ", max_size=4),
    limit=st.integers(1, 6),
)
def test_what_is_found_is_what_reading_every_tag_finds(tags: dict[str, int], prefix: str, limit: int) -> None:
    typed = " ".join(prefix.split()).casefold()

    def rank(name: str) -> int:
        key = name.casefold()
        later = any(key[at + 1 :].startswith(typed) for at, letter in enumerate(key) if letter == " ")
        return 0 if key.startswith(typed) else 1 if later else 2

    ranked = sorted((rank(name), -count, name) for name, count in tags.items() if rank(name) < 2)
    expected = [(name, -count) for _, count, name in ranked][:limit]
    assert TagCompletion(list(tags), list(tags.values())).find(prefix, limit) == expected
