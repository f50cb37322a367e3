"""Scores and orders that do not depend on how many queries were asked together.

Matrix products add up in an order that depends on the shapes, so one pair of vectors gets scores that differ
in the last bits from call to call, and equal pictures change places. The candidates that an index returns
are therefore scored again here, pair by pair in one fixed order, and sorted by falling score and rising row.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.faiss_api import faiss

SLACK = 16
"""How many candidates are asked for beyond those wanted, so that ties at the end are seen."""

MARGIN = 1e-5
"""Two scores nearer than this may come out of a matrix product in either order (vectors of norm near 1)."""

_CHUNK_NUMBERS = 16 * 1024 * 1024

_BLOCK = 4096
"""Vectors that many queries are compared with at a time: their products stay in the cache."""


def pair_scores(queries: Float32Array, vectors: Float32Array, rows: Int64Array) -> Float32Array:
    """Inner products of each query with its own rows: queries [n, d], vectors [m, d], rows [n, c] → [n, c]
    float32.

    A row of -1 is a gap and scores -inf.
    """
    scores = np.empty(rows.shape, np.float32)
    step = max(1, _CHUNK_NUMBERS // max(1, rows.shape[1] * vectors.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        np.einsum("ncd,nd->nc", vectors[np.maximum(rows[part], 0)], queries[part], out=scores[part])
    scores[rows < 0] = -np.inf
    return scores


def scores_of_pairs(vectors: Float32Array, left: Int64Array, right: Int64Array) -> Float32Array:
    """[n]: the inner product of vectors[left[i]] and vectors[right[i]], vectors [m, d]; nothing is copied.
    Not to the last bit what `pair_scores` gives.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    scores = np.empty(len(left), np.float32)
    data, ways = faiss.swig_ptr(vectors), (faiss.swig_ptr(left), faiss.swig_ptr(right))
    faiss.pairwise_indexed_inner_product(
        vectors.shape[1], len(left), data, ways[0], data, ways[1], faiss.swig_ptr(scores)
    )
    return scores


def ranked(scores: Float32Array, rows: Int64Array, k: int) -> tuple[Float32Array, Int64Array]:
    """The best k of each line [n, c] → [n, k]: falling score, equal scores by lower row; padded with -inf
    and -1.
    """
    order = np.lexsort((rows, -scores), axis=-1)[:, :k]
    lines = np.arange(len(rows))[:, None]
    return fitted(scores[lines, order], rows[lines, order], k)


def fitted(scores: Float32Array, rows: Int64Array, k: int) -> tuple[Float32Array, Int64Array]:
    """The first k of each line that is already in order [n, c] → [n, k], padded with -inf and -1."""
    missing = k - rows.shape[1]
    if missing <= 0:
        return scores[:, :k], rows[:, :k]
    gaps = ((0, 0), (0, missing))
    return np.pad(scores, gaps, constant_values=-np.inf), np.pad(rows, gaps, constant_values=-1)


def cut_through_a_tie(scores: Float32Array, k: int, last: int) -> BoolArray:
    """[n] bool: whether rows outside the candidates may tie with the k-th.

    `scores` [n, c] fall along each line; `last` is the place of the last candidate that is surely the worst
    of them.
    """
    if scores.shape[1] <= k or last < k:
        return np.zeros(len(scores), np.bool_)
    cut: BoolArray = np.isfinite(scores[:, last]) & (scores[:, k - 1] - scores[:, last] <= MARGIN)
    return cut


def best_of(
    query: Float32Array, vectors: Float32Array, k: int, rows: Int64Array | None = None
) -> tuple[Float32Array, Int64Array]:
    """The best k of all vectors (or of `rows`) for one query [d], by a scan: scores [k], rows [k], padded."""
    products = (vectors if rows is None else vectors[rows]) @ query
    if len(products) > k:
        kth = np.partition(products, len(products) - k)[len(products) - k]
        candidates = np.flatnonzero(products >= kth - MARGIN)
    else:
        candidates = np.arange(len(products))
    if rows is not None:
        candidates = rows[candidates]
    candidates = candidates[None].astype(np.int64)
    scores, best = ranked(pair_scores(query[None], vectors, candidates), candidates, k)
    return scores[0], best[0]


def best_of_each(queries: Float32Array, vectors: Float32Array, k: int) -> tuple[Float32Array, Int64Array]:
    """The best k of all vectors for each of many queries [n, d], as matrix products see them: scores [n, k]
    falling, rows [n, k], padded. Vectors, which may be mapped, are read once.

    FAISS's own scan takes five times as long for fewer than some 128,000 numbers in all queries.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    lines = np.arange(len(queries)).repeat(k)
    # The first block is small: all of it is better than nothing, and has to be sorted.
    first = min(_BLOCK, 4 * k)
    for start, stop in pairwise([0, *range(first, len(vectors), _BLOCK), max(first, len(vectors))]):
        products = queries @ vectors[start:stop].T
        places = np.flatnonzero(products > scores[:, -1:])  # several times as fast as nonzero in two axes
        if not len(places):
            continue
        line, column = np.divmod(places, products.shape[1])
        of, value = np.concatenate([lines, line]), np.concatenate([scores.ravel(), products[line, column]])
        row = np.concatenate([rows.ravel(), start + column])
        order = np.lexsort((row, -value, of))
        best = order[np.searchsorted(of[order], np.arange(len(queries)))[:, None] + np.arange(k)]
        scores, rows = value[best], row[best]
    return scores, rows
