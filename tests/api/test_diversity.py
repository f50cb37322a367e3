"""Maximal marginal relevance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.diversity import marginal_relevance


def test_without_diversity_the_order_is_that_of_relevance() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert marginal_relevance(vectors, np.array([0.1, 0.9, 0.5, 0.9]), 0.0, 4).tolist() == [1, 3, 2, 0]


def test_a_twin_of_what_is_shown_waits_for_something_else() -> None:
    vectors = np.array([[1, 0], [1, 0.001], [0, 1]], dtype=np.float32)
    relevance = np.array([0.9, 0.89, 0.6])
    assert marginal_relevance(vectors, relevance, 0.5, 3).tolist() == [0, 2, 1]


@given(
    count=st.integers(1, 12),
    k=st.integers(1, 15),
    diversity=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_each_step_takes_the_greatest_marginal_relevance(
    count: int, k: int, diversity: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, 5)).astype(np.float32)
    relevance = generator.uniform(size=count)
    order = marginal_relevance(vectors, relevance, diversity, k).tolist()
    assert len(order) == len(set(order)) == min(k, count)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for step in range(1, len(order)):
        shown = order[:step]
        values = {
            i: (1 - diversity) * relevance[i] - diversity * max(float(unit[i] @ unit[j]) for j in shown)
            for i in range(count)
            if i not in shown
        }
        assert values[order[step]] >= max(values.values()) - 1e-5
