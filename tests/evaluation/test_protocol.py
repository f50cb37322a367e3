"""The parts of the protocol on toy data whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from gnn.evaluation.baselines import unit_rows
from gnn.evaluation.protocol.completion import completion
from gnn.evaluation.protocol.contexts import context_queries, contexts, filtered_rows
from gnn.evaluation.protocol.graded import mean_cosine
from gnn.evaluation.protocol.grades import grade, grades
from gnn.evaluation.protocol.incomplete import HARD_FILTER, hide_edges, incomplete, tag_queries
from gnn.evaluation.protocol.slider import STOPS, slider
from gnn.evaluation.protocol.tagged import tagged
from gnn.evaluation.protocol.tags import tags
from gnn.evaluation.protocol.told import ToldQueries, told, told_queries
from gnn.evaluation.protocol.untagged import untagged
from gnn.evaluation.protocol.unwanted import UnwantedQueries, unwanted, unwanted_queries
from gnn.evaluation.protocol.words import captions, carrying_share, synonyms
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems

SYSTEMS = Systems(frozenset({"good"}))


def table(*rows: str) -> TagTable:
    """One image a row, one letter a tag: table("ab", "", "c")."""
    return TagTable.from_dense(np.array([[letter in row for letter in "abcd"] for row in rows]))


def figure(part: Part, system: str, name: str) -> float:
    (row,) = [row for row in part.rows if row.system == system]
    return row.figures[name].mean


def test_a_perfect_ranking_scores_one_and_its_ratio_is_to_the_best_baseline() -> None:
    index, queries = table("a", "b", "ab"), table("a", "b")
    rows = {
        "good": np.array([[0, 2, 1], [1, 2, 0]]),
        "fair": np.array([[2, 0, 1], [2, 1, 0]]),
        "bad": np.array([[1, 2, 0], [0, 2, 1]]),
    }
    for part in (untagged(rows, queries, index, SYSTEMS), tagged(rows, queries, index, SYSTEMS)):
        assert figure(part, "good", "nDCG@5") == pytest.approx(1.0)
        expected = (0.5 + 1 / np.log2(3)) / (1 + 0.5 / np.log2(3))
        assert figure(part, "fair", "nDCG@5") == pytest.approx(expected)
        assert figure(part, "good", "ratio@5") == pytest.approx(1 / expected)
        assert [row.kind for row in part.rows] == ["preset", "baseline", "baseline"]


def test_a_query_that_shares_no_tag_with_the_index_is_left_out() -> None:
    part = untagged({"good": np.array([[0, 1], [0, 1]])}, table("a", "d"), table("a", "b"), SYSTEMS)
    assert part.rows[0].figures["nDCG@5"].count == 1


def test_missing_results_are_worth_nothing() -> None:
    part = untagged({"good": np.array([[-1, -1]])}, table("a"), table("a", "b"), SYSTEMS)
    assert figure(part, "good", "nDCG@5") == 0.0


def test_hiding_edges_keeps_exactly_the_rest() -> None:
    tags = table("abcd", "ab", "", "abcd").csr()
    half = hide_edges(tags, 0.5, seed=1)
    assert half.num_rows == 4
    assert half.num_edges == 5
    every = set(zip(tags.edge_rows().tolist(), tags.indices.tolist(), strict=True))
    left = set(zip(half.edge_rows().tolist(), half.indices.tolist(), strict=True))
    assert left < every
    assert hide_edges(tags, 0.5, seed=1).equals(half)
    assert hide_edges(tags, 0.0).equals(tags)


def test_tag_queries_are_the_pairs_whose_tag_has_enough_carriers() -> None:
    asked = tag_queries(table("ab", "c"), table("a", "ab", "b", "c"), fewest=2, most=2)
    assert asked.images.tolist() == [0, 0]
    assert asked.tags.tolist() == [0, 1]
    assert asked.total.tolist() == [2, 2]
    assert len(tag_queries(table("ab"), table("a", "ab", "b"), fewest=2, most=9, limit=1).tags) == 1


def test_r_precision_counts_true_carriers_also_where_the_edge_is_hidden() -> None:
    index = table("a", "a", "b", "b")
    asked = tag_queries(table("a"), index, fewest=1, most=9)
    rows = {"good": np.array([[0, 1]]), HARD_FILTER: np.array([[1, -1]])}
    part = incomplete(rows, asked, index, SYSTEMS)
    assert figure(part, "good", "R-precision") == 1.0
    assert figure(part, HARD_FILTER, "R-precision") == 0.5
    assert figure(part, "good", "ratio to hard filter") == 2.0


def test_a_slider_that_goes_from_tags_to_looks_is_monotone() -> None:
    # The query looks like image 10 and shares its tag with image 0; stop i ranks image i first.
    features = np.stack([[np.cos(t), np.sin(t)] for t in np.linspace(np.pi / 2, 0, 11)]).astype(np.float32)
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    index = TagTable.from_dense(np.tril(np.ones((11, 11), dtype=bool)))
    asked = TagTable.from_dense(np.eye(11, dtype=bool)[:1])
    stops = [np.array([[i]]) for i in range(11)]
    part = slider(
        {"good": stops, "stuck": [stops[0]] * 11}, stops[10], asked, index, query, features, SYSTEMS
    )
    assert figure(part, "good", "Spearman(v, raw cosine)") == pytest.approx(1.0)
    assert figure(part, "good", "Spearman(v, -nDCG@10)") == pytest.approx(1.0)
    assert figure(part, "good", "raw cosine at 1 / raw kNN") == pytest.approx(1.0)
    assert np.isnan(figure(part, "stuck", "Spearman(v, raw cosine)"))
    assert part.series["good"]["v"] == list(STOPS)


def test_mean_cosine_leaves_missing_results_out() -> None:
    features = unit_rows(np.array([[1.0, 0.0], [1.0, 1.0]]))
    got = mean_cosine(np.array([[0, -1], [-1, -1]]), features, features)
    assert_allclose(got, [1.0, np.nan])


def test_tag_figures_by_hand() -> None:
    truth = TagTable.from_dense(np.eye(8, dtype=bool)[[0, 1]])
    right = np.eye(8, dtype=np.float32)[[0, 1]]
    wrong = -right
    part = tags({"good": right, "bad": wrong}, truth, tuple("abcdefgh"), SYSTEMS, chances={"good": right})
    assert figure(part, "good", "R@5") == 1.0
    assert figure(part, "good", "N+") == 2
    assert figure(part, "good", "ECE") == pytest.approx(0.0)
    # Tag 0 is also given to image 1, as one of its five, and the other way round.
    assert figure(part, "good", "P") == pytest.approx(0.5)
    assert figure(part, "good", "R") == 1.0
    assert figure(part, "bad", "R@5") == 0.0
    assert "ECE" not in part.rows[1].figures


def test_a_tag_that_no_system_can_name_is_never_a_hit() -> None:
    truth = TagTable.from_dense(np.array([[True, False, False, True]]))
    scores = np.array([[0.9, 0.2, 0.1, -np.inf]], dtype=np.float32)
    part = tags({"good": scores}, truth, tuple("abcd"), SYSTEMS)
    assert figure(part, "good", "R@5") == 0.5
    assert figure(part, "good", "N+") == 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([1, 3, 0, 0], 3),  # the same objects, one and several as asked
        ([3, 3, 0, 0], 2),  # the same objects, but several where one was asked for
        ([1, 0, 0, 0], 2),  # half of the union, right number, one object missing
        ([1, 0, 1, 1], 1),  # a quarter of the union, right number
        ([2, 0, 1, 1], 0),  # shares one object in another number, and little else
        ([0, 0, 1, 0], 0),  # nothing shared
    ],
)
def test_a_grade_is_the_number_of_passed_tests(shown: list[int], expected: int) -> None:
    assert grade([[1, 3, 0, 0]], [shown]).tolist() == [expected]


def test_grades_are_shares_of_the_first_five_results() -> None:
    index = sparse.csr_matrix(np.array([[1, 0], [0, 1]]))
    query = sparse.csr_matrix(np.array([[1, 0], [0, 0]]))
    rows = {"good": np.array([[0, 1, -1, -1, -1], [0, 0, 0, 0, 0]])}
    part = grades(rows, query, index, SYSTEMS)
    assert figure(part, "good", "excellent") == pytest.approx(0.2)
    assert figure(part, "good", "unacceptable") == pytest.approx(0.8)
    assert part.rows[0].figures["excellent"].count == 1


def test_a_synonym_is_recalled_by_the_carriers_of_its_tag() -> None:
    index = table("a", "a", "b")
    rows = np.array([[0, 2, 1]])
    assert carrying_share(rows, np.array([0]), index, k=2).tolist() == [0.5]
    assert np.isnan(carrying_share(rows, np.array([3]), index)).all()
    assert figure(synonyms({"good": rows}, np.array([0]), index, SYSTEMS), "good", "recall@10") == 1.0


def test_captions_look_for_their_own_image_or_for_its_tags() -> None:
    index = table("a", "b")
    part = captions(
        {"good": np.array([[0, 1], [0, -1]])},
        np.array([0, 1]),
        {"good": np.array([[0, 1]])},
        table("a"),
        index,
        SYSTEMS,
    )
    assert figure(part, "good", "recall@10") == 0.5
    assert figure(part, "good", "nDCG@10, held out") == 1.0


def test_completion_asks_only_for_tags_that_are_not_visible() -> None:
    visible, true = table("a", "b"), table("ab", "b")
    sure = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    part = completion(
        {"good": sure, "bad": 1 - sure}, visible, true, SYSTEMS, chances={"good": sure, "bad": 1 - sure}
    )
    assert figure(part, "good", "R@5") == 1.0
    assert figure(part, "good", "ECE") == figure(part, "good", "ECE of the five") == 0.0
    assert figure(part, "bad", "ECE") > 0.5
    assert part.rows[0].figures["R@5"].count == 1  # the second image lacks nothing


def test_an_unwanted_tag_is_one_of_several_that_an_image_shows() -> None:
    asked = unwanted_queries(table("a", "ab", "cd"), table("ab", "a", "c"), fewest=1)
    assert asked.images.tolist() == [1, 2]
    assert asked.tags[0] in (0, 1) and asked.tags[1] == 2


def test_a_refused_tag_is_pushed_out_and_the_rest_is_kept() -> None:
    index, queries = table("ab", "ab", "b", "c"), table("ab")
    asked = UnwantedQueries(np.array([0]), np.array([0]))
    rows = {"good": (np.array([[0, 1]]), np.array([[2, 0]])), "bad": (np.array([[0, 1]]), np.array([[3, 0]]))}
    part = unwanted(rows, asked, queries, index, SYSTEMS)
    assert figure(part, "good", "share with the tag") == 1.0
    assert figure(part, "good", "left") == 0.5
    assert figure(part, "good", "rest kept") == pytest.approx(1.0)
    assert figure(part, "bad", "rest kept") < 0.6


def test_questions_about_one_tag_count_as_one_in_the_intervals_of_unwanted_and_told() -> None:
    index, queries = table("ab", "ab", "b", "c"), table("ab", "ab", "ab", "bc")
    found = np.array([[0, 1], [2, 3], [0, 2], [2, 1]])
    rows = {"good": (np.array([[0, 1]] * 4), found)}
    for chosen in ([0, 0, 0, 0], [0, 0, 0, 1]):
        asked = np.arange(4), np.array(chosen)
        parts = (
            unwanted(rows, UnwantedQueries(*asked), queries, index, SYSTEMS),
            told({"good": found, "bad": found[::-1]}, ToldQueries(*asked), queries, index, SYSTEMS),
        )
        for part in parts:
            widths = [each.high - each.low for each in part.rows[0].figures.values()]
            assert (max(widths) > 0) == (len(set(chosen)) > 1)


def test_one_tag_is_told_of_each_image_that_has_several_and_counts_against_all_of_them() -> None:
    index, queries = table("ab", "a", "b", "c"), table("ab", "c", "ab")
    asked = told_queries(queries)
    assert asked.images.tolist() == [0, 2]
    assert set(asked.tags.tolist()) <= {0, 1}
    rows = {"good": np.array([[0, 1, 2, 3]] * 2), "bad": np.array([[3, 2, 1, 0]] * 2)}
    part = told(rows, asked, queries, index, SYSTEMS)
    assert figure(part, "good", "nDCG@10") == pytest.approx(1.0)
    assert figure(part, "bad", "nDCG@10") < 0.9


def test_contexts_of_a_tag_are_those_that_are_hardly_met_together() -> None:
    index = table("ab", "ab", "ac", "ac", "abd", "d")
    asked = context_queries(table("b", "c", "ab"), index, together=2)
    assert asked.tags.tolist() == [0]
    assert asked.contexts.tolist() == [[1, 2]]
    assert asked.images.tolist() == [[0, 1]]
    found = np.array([[[0, 1], [2, 3]]])
    same = np.array([[[0, 2], [0, 2]]])
    part = contexts({"good": found, "bad": same}, asked, index, SYSTEMS)
    assert figure(part, "good", "with the tag") == figure(part, "good", "with the picture's context") == 1.0
    assert figure(part, "good", "with the other's") == figure(part, "good", "the same results") == 0.0
    assert figure(part, "bad", "with the other's") == 0.5
    assert figure(part, "bad", "the same results") == pytest.approx(0.2)


def test_filtering_puts_carriers_first_whatever_they_look_like() -> None:
    raw = np.array([[0.9, 0.1, 0.5]], dtype=np.float32)
    carries = np.array([[0, 1, 1]], dtype=np.float32)
    assert filtered_rows(raw, carries, 3).tolist() == [[2, 1, 0]]
