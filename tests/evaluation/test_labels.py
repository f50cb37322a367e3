"""kNN label accuracy and triplet ranking, on toy data whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gnn.evaluation.protocol.labels import Asked, draw_triplets, knn_accuracy, labels
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.evaluation.results import Systems


def table(*rows: str) -> TagTable:
    """One image a row, one letter a tag."""
    return TagTable.from_dense(np.array([[letter in row for letter in "abcd"] for row in rows]))


INDEX = table("a", "a", "b", "b", "b", "cd", "ab")


@pytest.mark.parametrize(
    ("query", "nearest", "right"),
    [
        ("a", [0, 2, 1, 5, -1], 1.0),  # a twice, all others once
        ("a", [2, 3, 4, 0, 1], 0.0),  # b three times
        ("a", [0, 2, -1, -1, -1], 1.0),  # once each: the nearer one speaks
        ("a", [2, 0, -1, -1, -1], 0.0),
        ("a", [-1, -1, -1, -1, -1], 0.0),
    ],
)
def test_the_tag_that_most_of_the_nearest_carry_is_the_answer(
    query: str, nearest: list[int], right: float
) -> None:
    assert knn_accuracy(np.array([nearest]), table(query), INDEX).tolist() == [right]


def test_a_query_without_tags_has_no_accuracy() -> None:
    assert np.isnan(knn_accuracy(np.array([[0, 1, 2, 3, 4]]), table(""), INDEX)).all()


def test_in_a_triplet_the_positive_is_at_least_twice_as_alike() -> None:
    rng = np.random.default_rng(0)
    queries, index = (TagTable.from_dense(rng.random((n, 6)) < 0.4) for n in (30, 80))
    asked = draw_triplets(queries, index, each=3)
    gains = jaccard_gains(queries, index)
    assert len(asked.query) > 30
    assert (gains[asked.query, asked.positive] >= 0.5).all()
    assert (gains[asked.query, asked.negative] < gains[asked.query, asked.positive] / 2).all()


def test_triplets_are_averaged_by_query() -> None:
    asked = Asked(np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([2, 2, 0]))
    part = labels(
        {"good": np.array([[0, 1], [2, 3]])},
        {"good": np.array([1.0, 0.0, 1.0])},
        asked,
        table("a", "b"),
        INDEX,
        Systems(frozenset({"good"})),
    )
    assert part.rows[0].figures["triplets"].mean == pytest.approx(0.75)
    assert part.rows[0].figures["kNN accuracy"].mean == 1.0
