"""Scans that say what the best are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_store import exact
from graph_store.exact import best_of_each


@settings(max_examples=60)
@given(
    num=st.integers(0, 60),
    asked=st.integers(0, 5),
    k=st.integers(1, 12),
    block=st.integers(1, 64),
    seed=st.integers(0, 100),
)
def test_the_best_of_each_question_are_those_of_a_sort(
    num: int, asked: int, k: int, block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (num, 5)).astype(np.float32)  # whole numbers: no rounding, many ties
    queries = rng.integers(-3, 4, (asked, 5)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_BLOCK", block)
        scores, rows = best_of_each(queries, vectors, k)
    products = queries @ vectors.T
    wanted = np.full((asked, k), -np.inf, np.float32)
    wanted[:, : min(k, num)] = -np.sort(-products, axis=1)[:, :k]
    np.testing.assert_array_equal(scores, wanted)
    assert ((rows >= 0) == np.isfinite(wanted)).all()
    for line in range(asked):
        found = rows[line][rows[line] >= 0]
        assert len(set(found.tolist())) == len(found)
        np.testing.assert_array_equal(products[line, found], scores[line, : len(found)])
