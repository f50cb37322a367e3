"""What a question asks for, as sets of tags with chances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from gnn.asked_tags import wanted_of
from gnn.words import TagEdge, merged

WEIGHTS = st.lists(st.floats(0.05, 4), min_size=1, max_size=6)


def told(weights: list[float]) -> list[TagEdge]:
    return [TagEdge(tag, weight, "told") for tag, weight in enumerate(weights)]


def word(chances: list[float], weight: float = 1.0, first: int = 0) -> list[TagEdge]:
    """A word that may mean some tags. chances: in any unit."""
    shares = np.array(chances) / np.sum(chances)
    return [TagEdge(first + tag, weight * share, "word", share) for tag, share in enumerate(shares.tolist())]


@given(WEIGHTS)
def test_a_tag_is_told_the_more_the_more_it_weighs_and_never_more_than_wholly(weights: list[float]) -> None:
    wanted = wanted_of(told(weights))
    assert (wanted > 0).all() and (wanted <= 1).all()
    assert (np.diff(wanted[np.argsort(weights, kind="stable")]) >= -1e-6).all()


@given(st.integers(1, 8), st.floats(0.1, 5))
def test_equal_tags_are_told_wholly_whatever_they_weigh(number: int, weight: float) -> None:
    assert_allclose(wanted_of(told([weight] * number)), 1.0, atol=1e-5)


@given(WEIGHTS, st.floats(0.1, 5))
def test_one_word_asks_for_one_tag_in_all(chances: list[float], weight: float) -> None:
    wanted = wanted_of(word(chances, weight))
    assert wanted.sum() == pytest.approx(1.0, abs=1e-5)
    assert_allclose(wanted, np.array(chances) / np.sum(chances), atol=1e-5)


@given(WEIGHTS, st.sampled_from([1e-200, 1e-9, 1e9]))
def test_the_unit_of_the_weights_does_not_matter(weights: list[float], unit: float) -> None:
    scaled = wanted_of(told([weight * unit for weight in weights]))
    assert_allclose(scaled, wanted_of(told(weights)), rtol=1e-5)


@given(WEIGHTS)
def test_a_word_takes_nothing_from_the_tags_told_beside_it(chances: list[float]) -> None:
    wanted = wanted_of([*told([1.0, 1.0]), *word(chances, first=2)])
    assert_allclose(wanted[:2], 1.0, atol=1e-5)
    assert wanted[2:].sum() == pytest.approx(1.0, abs=1e-5)


@given(WEIGHTS, WEIGHTS)
def test_two_words_that_may_mean_the_same_tag_mean_it_the_surer(one: list[float], other: list[float]) -> None:
    together = merged([*word(one), *word(other)])
    alone = {edge.tag: edge.chance for edge in word(one)}
    assert all(edge.chance >= alone.get(edge.tag, 0.0) - 1e-9 and edge.chance <= 1 for edge in together)
    assert (wanted_of(together) <= 1).all()


def test_a_question_without_tags_asks_for_none() -> None:
    assert wanted_of([]).shape == (0,)
