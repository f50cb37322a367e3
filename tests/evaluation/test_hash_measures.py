"""The measures of hashing, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gnn.evaluation.hash_measures import average_gain, exponential_ndcg, weighted_map
from gnn.evaluation.hash_part import _Gains
from gnn.evaluation.questions import Questions
from gnn.evaluation.relevance import TagTable
from graph_store.arrays import Float32Array


def gains(*numbers: float) -> Float32Array:
    return np.array([numbers], np.float32)


def test_ndcg_counts_a_result_that_shares_two_tags_three_times() -> None:
    got = 1 / np.log2(2) + 3 / np.log2(3)
    best = 3 / np.log2(2) + 1 / np.log2(3)
    assert exponential_ndcg(gains(1, 2, 0), gains(2, 1, 0), 3)[0] == pytest.approx(got / best)


def test_average_gain_is_the_mean_number_of_shared_tags() -> None:
    assert average_gain(gains(2, 0, 1, 9), 3)[0] == pytest.approx(1.0)


def test_weighted_map_averages_the_gain_so_far_over_the_relevant_ranks() -> None:
    assert weighted_map(gains(2, 0, 1))[0] == pytest.approx((2 / 1 + 3 / 3) / 2)


def test_weighted_map_of_one_tag_is_average_precision() -> None:
    assert weighted_map(gains(0, 1, 0, 1))[0] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_a_query_that_shares_nothing_with_anything_does_not_count() -> None:
    nothing = gains(0, 0)
    for measure in (weighted_map(nothing), exponential_ndcg(nothing, nothing)):
        assert bool(np.isnan(measure).all())


def test_the_average_gain_of_results_that_share_nothing_is_zero() -> None:
    assert average_gain(gains(0, 0, 0))[0] == 0.0


@pytest.fixture(scope="module")
def cut_off() -> dict[str, np.ndarray]:
    """The figures of two rankings that were cut off at 100 of 101: the first query shares a tag with the
    image left out, the second with none.
    """
    index = np.zeros((101, 3), dtype=bool)
    index[:100, 0] = index[100, 1] = True
    queries = np.array([[False, True, False], [False, False, True]])
    questions = Questions(
        ("left out", "ranked", "unknown"),
        3,
        (),
        (),
        np.zeros((101, 4), np.float32),
        np.zeros((2, 4), np.float32),
        TagTable.from_dense(index),
        TagTable.from_dense(queries),
    )
    return _Gains(questions, np.arange(2)).of_rows(np.tile(np.arange(100), (2, 1)))


@pytest.mark.parametrize("figure", ["NDCG@100", "ACG@100", "nDCG@10"])
def test_a_query_whose_relevant_images_were_cut_off_counts_as_zero(
    cut_off: dict[str, np.ndarray], figure: str
) -> None:
    assert cut_off[figure][0] == 0.0


@pytest.mark.parametrize("figure", ["NDCG@100", "ACG@100", "nDCG@10"])
def test_a_query_without_relevant_images_does_not_count_where_results_are_cut_off(
    cut_off: dict[str, np.ndarray], figure: str
) -> None:
    assert np.isnan(cut_off[figure][1])


@given(shared=arrays(np.float32, (3, 12), elements=st.sampled_from([0, 1, 2, 5])))
def test_no_ranking_is_better_than_the_one_by_falling_gain(shared: Float32Array) -> None:
    ideal = -np.sort(-shared, axis=1)
    for measure in (lambda r: exponential_ndcg(r, ideal, 12), weighted_map, lambda r: average_gain(r, 12)):
        found, best = measure(shared), measure(ideal)
        assert bool((found <= best + 1e-9)[np.isfinite(found)].all())
