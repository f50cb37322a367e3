"""Which contexts of a tag are asked about, from tables that stay sparse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse

from gnn.evaluation.protocol.contexts import context_queries
from gnn.evaluation.relevance import TagTable


def contexts_by_dense_tables(
    queries: TagTable, index: TagTable, together: int, pairs: int
) -> list[tuple[int, int, int, int, int]]:
    """Tag, contexts and images of all of `context_queries`, by their definition."""
    shown, carried = queries.dense(), index.dense()
    found = []
    for tag in np.random.default_rng(0).permutation(index.num_tags).tolist():
        carriers = carried[carried[:, tag]].astype(int)
        both = carriers.T @ carriers
        usable = [
            context
            for context in range(index.num_tags)
            if context != tag
            and both[tag, context] >= together
            and (shown[:, context] & ~shown[:, tag]).any()
        ]
        apart = [
            (min(both[one, one], both[other, other]) - 2 * both[one, other], one, other)
            for one, other in itertools.combinations(usable, 2)
        ]
        best, one, other = max(apart, default=(0, -1, -1))
        if best <= 0:
            continue
        first = np.flatnonzero(shown[:, one] & ~shown[:, other] & ~shown[:, tag])[:pairs]
        second = np.flatnonzero(shown[:, other] & ~shown[:, one] & ~shown[:, tag])[:pairs]
        found += [(tag, one, other, int(a), int(b)) for a, b in zip(first, second, strict=False)]
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [4, 400])
def test_contexts_of_sparse_tables_are_those_of_dense_ones(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    often = rng.random(14) * 0.6
    queries, index = (TagTable.from_dense(rng.random((count, 14)) < often) for count in (30, 120))
    asked = context_queries(queries, index, together=3, pairs=2, limit=limit)
    found = np.column_stack([asked.tags, asked.contexts, asked.images])
    expected = contexts_by_dense_tables(queries, index, together=3, pairs=2)
    assert len(expected) > 4
    assert [tuple(row) for row in found.tolist()] == expected[:limit]


def test_contexts_never_need_a_table_of_all_tags_by_all_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, index = (TagTable.from_dense(rng.random((60, 200)) < 0.05) for _ in range(2))
    dense = sparse.csr_matrix.toarray

    def small_only(matrix: sparse.csr_matrix) -> np.ndarray:
        assert max(matrix.shape) < 200
        result: np.ndarray = dense(matrix)
        return result

    monkeypatch.setattr(sparse.csr_matrix, "toarray", small_only)
    assert len(context_queries(queries, index, together=1).tags)


def test_which_tags_are_asked_about_is_drawn_and_not_the_first_by_name() -> None:
    rng = np.random.default_rng(0)
    queries, index = (TagTable.from_dense(rng.random((count, 30)) < 0.3) for count in (60, 200))
    some = [
        context_queries(queries, index, together=3, pairs=1, limit=6, seed=seed).tags.tolist()
        for seed in (0, 0, 1)
    ]
    every = np.unique(context_queries(queries, index, together=3, pairs=1).tags)
    assert len(some[0]) == 6 < len(every)
    assert some[0] == some[1] != some[2]
    assert sorted(some[0]) != every[:6].tolist()
