"""Invariants of the measures, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from gnn.evaluation.intervals import bootstrap, ratio_of_means
from gnn.evaluation.metrics import (
    expected_calibration_error,
    ideal_gains,
    knn_label_accuracy,
    ndcg_at_k,
    r_precision,
    ranked_gains,
    recall_at_k,
    spearman,
    top_k,
    triplet_accuracy,
)
from gnn.evaluation.tag_measures import tag_measures

matrices = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
coarse_scores = st.integers(-3, 3).map(float)


@st.composite
def scores_and_gains(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(matrices)
    return (
        draw(hnp.arrays(np.float64, shape, elements=coarse_scores)),
        draw(hnp.arrays(np.float64, shape, elements=shares)),
    )


@given(scores_and_gains(), st.integers(1, 10))
def test_ndcg_lies_between_zero_and_one(both: tuple[np.ndarray, np.ndarray], k: int) -> None:
    scores, gains = both
    value = ndcg_at_k(ranked_gains(scores, gains, k), ideal_gains(gains, k), k)
    defined = gains.max(axis=1) > 0
    assert_array_equal(np.isfinite(value), defined)
    assert (value[defined] >= 0).all()
    assert (value[defined] <= 1 + 1e-12).all()


@given(scores_and_gains(), st.integers(1, 10))
def test_ranking_by_the_gains_themselves_is_perfect(both: tuple[np.ndarray, np.ndarray], k: int) -> None:
    _, gains = both
    value = ndcg_at_k(ranked_gains(gains, gains, k), ideal_gains(gains, k), k)
    assert_allclose(value[gains.max(axis=1) > 0], 1.0)


@given(scores_and_gains(), st.integers(1, 10), st.randoms(use_true_random=False))
def test_the_order_of_tied_items_changes_nothing(
    both: tuple[np.ndarray, np.ndarray], k: int, random: object
) -> None:
    scores, gains = both
    order = np.arange(scores.shape[1])
    random.shuffle(order)  # type: ignore[attr-defined]
    assert_allclose(
        ranked_gains(scores[:, order], gains[:, order], k), ranked_gains(scores, gains, k), atol=1e-12
    )


@given(scores_and_gains(), st.integers(1, 10))
def test_top_k_equals_the_head_of_a_stable_full_sort(both: tuple[np.ndarray, np.ndarray], k: int) -> None:
    scores, _ = both
    assert_array_equal(top_k(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])


def test_ndcg_by_hand() -> None:
    gains = np.array([[1.0, 0.5, 0.0]])
    scores = np.array([[0.1, 0.9, 0.5]])
    got = 0.5 + 0.0 / np.log2(3) + 1.0 / np.log2(4)
    best = 1.0 + 0.5 / np.log2(3)
    assert_allclose(ndcg_at_k(ranked_gains(scores, gains, 3), ideal_gains(gains, 3), 3), [got / best])


def test_a_short_list_of_results_is_held_to_the_full_ideal() -> None:
    ideal = np.array([[1.0, 1.0]])
    assert_allclose(ndcg_at_k(np.array([[1.0]]), ideal, 2), [1 / (1 + 1 / np.log2(3))])
    assert_allclose(ndcg_at_k(np.zeros((1, 0)), ideal, 2), [0.0])


def test_a_tie_with_items_beyond_the_cut_counts_their_mean_gain() -> None:
    scores = np.array([[1.0, 1.0, 1.0, 1.0]])
    gains = np.array([[1.0, 0.0, 0.0, 0.0]])
    assert_allclose(ranked_gains(scores, gains, 2), [[0.25, 0.25]])


def test_r_precision_and_recall_by_hand() -> None:
    relevant = np.array([[True, False, True, True], [True, True, False, False], [False] * 4])
    total = np.array([3, 2, 0])
    assert_allclose(r_precision(relevant, total), [2 / 3, 1.0, np.nan])
    assert_allclose(recall_at_k(relevant, total, 2), [1 / 3, 1.0, np.nan])


def test_tag_measures_by_hand() -> None:
    truth = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.8, 0.1, 0.0], [0.9, 0.1, 0.8, 0.0]])
    got = tag_measures(scores, truth, per_image=2)
    assert got.per_tag[0].tolist() == [1.0, 1.0, 1.0]
    assert got.per_tag[1].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(got.per_tag[2:]).all()
    assert (got.precision, got.recall, got.f1) == (0.5, 0.5, 0.5)
    assert (got.recalled, got.possible) == (1, 2)


def test_tag_measures_of_images_without_tags_are_undefined() -> None:
    got = tag_measures(np.ones((2, 3)), np.zeros((2, 3), dtype=bool))
    assert np.isnan(got.f1)
    assert got.possible == 0


@given(st.lists(st.integers(0, 50), min_size=3, max_size=20, unique=True))
def test_spearman_sees_only_the_order(values: list[int]) -> None:
    x = np.array(values, dtype=np.float64)
    assert spearman(x, np.exp(x / 25)) == pytest.approx(1.0)
    assert spearman(x, -x) == pytest.approx(-1.0)
    assert np.isnan(spearman(x, np.ones_like(x)))


@settings(max_examples=25)
@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)))
def test_a_bootstrap_interval_holds_its_mean_and_repeats_with_its_seed(values: np.ndarray) -> None:
    one, two = bootstrap(values, seed=3), bootstrap(values, seed=3)
    assert one == two
    assert one.low <= one.mean <= one.high
    assert one.count == len(values)


def test_queries_of_one_group_count_as_one_draw() -> None:
    values = np.random.default_rng(0).normal(size=40)
    groups = np.arange(40, dtype=np.int64)
    alone = bootstrap(values, groups=groups)
    often = bootstrap(values.repeat(25), groups=groups.repeat(25))
    assert_allclose([often.mean, often.low, often.high], [alone.mean, alone.low, alone.high])
    assert often.count == 1000
    independent = bootstrap(values.repeat(25))
    assert independent.high - independent.low < (often.high - often.low) / 4


def test_a_bootstrap_interval_matches_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    got = bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert got.high - got.mean == pytest.approx(half, rel=0.1)
    assert got.mean - got.low == pytest.approx(half, rel=0.1)


def test_undefined_queries_are_left_out_of_the_mean() -> None:
    assert bootstrap(np.array([1.0, np.nan, 0.0])).mean == 0.5
    assert bootstrap(np.array([np.nan])).count == 0


def test_calibration_error_by_hand() -> None:
    always = np.full(10, 0.8)
    assert expected_calibration_error(always, np.arange(10) < 8) == pytest.approx(0.0)
    assert expected_calibration_error(always, np.arange(10) < 3) == pytest.approx(0.5)
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0


def test_knn_label_accuracy_asks_for_the_most_voted_tag() -> None:
    similarity = np.array([[0.9, 0.8, 0.7, 0.1]])
    index_truth = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=bool)
    assert knn_label_accuracy(similarity, index_truth, np.array([[False, True]]), k=3).tolist() == [1.0]
    assert knn_label_accuracy(similarity, index_truth, np.array([[True, False]]), k=3).tolist() == [0.0]
    assert knn_label_accuracy(similarity, index_truth, np.array([[True, False]]), k=2).tolist() == [1.0]
    assert np.isnan(knn_label_accuracy(similarity, index_truth, np.array([[False, False]]), k=2)).all()


def test_triplet_accuracy_by_hand() -> None:
    anchor = np.array([[1.0, 0.0]] * 3)
    positive = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    negative = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert triplet_accuracy(anchor, positive, negative).tolist() == [1.0, 0.0, 0.5]


def test_the_ratio_of_a_series_to_its_half_is_two_without_spread() -> None:
    values = np.random.default_rng(0).random(50)
    got = ratio_of_means(values, values / 2)
    assert (got.mean, got.low, got.high) == pytest.approx((2.0, 2.0, 2.0))
