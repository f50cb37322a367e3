"""`similar` edges: each image's nearest images by feature cosine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.bulk_neighbours import BulkNeighbours
from graph_store.csr import Csr
from graph_store.exact import MARGIN, SLACK, best_of, cut_through_a_tie, pair_scores, ranked
from graph_store.faiss_api import faiss
from graph_store.neighbour_index import NeighbourIndex
from graph_store.pairs_above import pairs_above
from graph_store.progress import Progress, SilentProgress

EXACT_UP_TO = 50_000
"""Catalogues up to this size are compared pair by pair; the work grows with the square."""

VERIFIED_UP_TO = 120_000
"""Up to this size, what is found in lists is held against all pairs, at half of that work."""

_MOST_PAIRS = 4
"""With more pairs than this for each edge there are too many copies of one picture to look at each pair."""

_AT_ONCE = 2**16
"""So many pairs, for each of which a vector is copied."""

_CHUNK = 4096


def similar_edges(
    vectors: Float32Array,
    k: int,
    threshold: float,
    progress: Progress | None = None,
    index: NeighbourIndex | None = None,
) -> Csr:
    """Edges from each image to its k nearest others with cosine ≥ threshold, nearest first, ties by lower
    row.

    vectors: [n, d] float32, unit norm; index: over them, where there is one: if it is compressed it serves
    here too. Weights are the cosines. Up to 120,000 images the edges are exact, so that they are the same
    however the catalogue came to be, but above 50,000 not where thousands of copies of one picture make too
    many pairs. Above 120,000, and there, nearly all of them are found
    (:class:`graph_store.bulk_neighbours.BulkNeighbours`); the recall and the cost at a million are in
    docs/performance.md.
    """
    if len(vectors) <= EXACT_UP_TO:
        return edges_of(np.arange(len(vectors)), vectors, k, threshold, progress)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    with (progress or SilentProgress()).phase("similar", len(vectors)) as advance:
        compressed = None if index is None else index.compressed
        rows = BulkNeighbours.build(vectors, k + 1, threshold, compressed).graph(k, advance)
        scores = np.empty(rows.shape, np.float32)
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            scores[part], rows[part] = ranked(pair_scores(vectors[part], vectors, rows[part]), rows[part], k)
    if len(vectors) > VERIFIED_UP_TO:
        return _edges(rows, scores, threshold)
    with (progress or SilentProgress()).phase("similar", len(vectors)) as advance:
        worst = np.where(rows[:, -1] >= 0, np.maximum(scores[:, -1], threshold), np.float32(threshold))
        pairs = pairs_above(vectors, worst, _MOST_PAIRS * k * len(vectors), advance)
        if pairs is not None:
            _take_in(vectors, *pairs, rows, scores, threshold)
    return _edges(rows, scores, threshold)


def edges_of(
    images: Int64Array,
    vectors: Float32Array,
    k: int,
    threshold: float,
    progress: Progress | None = None,
    index: NeighbourIndex | None = None,
) -> Csr:
    """The rows of `similar_edges` for some of the images: row i is that of images[i]. So few of them that
    comparing each with all is less work than 50,000 with 50,000 are exact in a catalogue of any size. More
    are searched in `index`, one over these vectors, where there is one.
    """
    num = len(vectors)
    k = min(k, num - 1)
    if k < 1 or not len(images):
        return Csr.empty(len(images))
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    count = min(k + 1 + SLACK, num)
    exact = is_exact(num, len(images))
    near = _finder(vectors, count, threshold, exact, index)
    scores = np.empty((len(images), k), np.float32)
    rows = np.empty((len(images), k), np.int64)
    tied: list[int] = []
    with (progress or SilentProgress()).phase("similar", len(images)) as advance:
        for start in range(0, len(images), _CHUNK):
            part = slice(start, start + _CHUNK)
            own = images[part]
            queries = vectors[own]
            found = near(queries)
            found[found == own[:, None]] = -1
            found_scores, found = ranked(pair_scores(queries, vectors, found), found, count)
            if exact and count < num:
                # The last place is a gap where the image itself was found, so the last but one is the worst.
                cut = cut_through_a_tie(found_scores, k, count - 2) & (
                    found_scores[:, k - 1] >= threshold - MARGIN
                )
                tied.extend((start + np.flatnonzero(cut)).tolist())
            scores[part], rows[part] = found_scores[:, :k], found[:, :k]
            advance(len(queries))
    _scan_tied(vectors, images, tied, scores, rows)
    return _edges(rows, scores, threshold)


def is_exact(num: int, num_asking: int) -> bool:
    """Whether the neighbours of so many images of a catalogue of `num` are found by comparing each with
    all.
    """
    return num <= EXACT_UP_TO or num * num_asking <= EXACT_UP_TO**2


def is_verified(num: int) -> bool:
    """Whether `similar_edges` of a catalogue of `num` are exact, whatever it costs."""
    return num <= VERIFIED_UP_TO


def _finder(
    vectors: Float32Array, count: int, threshold: float, exact: bool, index: NeighbourIndex | None
) -> Callable[[Float32Array], Int64Array]:
    """How the `count` nearest of many queries [n, d] are found: rows [n, count]."""
    if exact:
        return lambda queries: faiss.knn(queries, vectors, count, metric=faiss.METRIC_INNER_PRODUCT)[1]
    if index is not None:
        return lambda queries: index.near(queries, count, threshold)
    bulk = BulkNeighbours.build(vectors, count, threshold)
    return lambda queries: bulk.near(queries, count)[0]


def _edges(rows: Int64Array, scores: Float32Array, threshold: float) -> Csr:
    kept = (rows >= 0) & (scores >= threshold)
    return Csr.from_rows(kept.sum(axis=1), rows[kept], np.clip(scores[kept], -1.0, 1.0))


def cosines_of(vectors: Float32Array, rows: Int64Array, cols: Int64Array) -> Float32Array:
    """[n]: the cosine of each pair of vectors [m, d], unit norm, as for any edge: of copies above 1 by as
    much.
    """
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores[part] = pair_scores(vectors[rows[part]], vectors, cols[part, None])[:, 0]
    return scores


def best_pairs(
    rows: Int64Array, cols: Int64Array, cosines: Float32Array, k: int, threshold: float
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Of these pairs the k nearest of each row, nearest first, ties by lower column."""
    order = np.lexsort((cols, -cosines, rows))
    rows, cols, cosines = rows[order], cols[order], cosines[order]
    _, first, count = np.unique(rows, return_index=True, return_counts=True)
    kept = (np.arange(len(rows)) - np.repeat(first, count) < k) & (cosines >= threshold)
    return rows[kept], cols[kept], np.clip(cosines[kept], -1.0, 1.0)


def _take_in(
    vectors: Float32Array,
    receivers: Int64Array,
    senders: Int64Array,
    rows: Int64Array,
    scores: Float32Array,
    threshold: float,
) -> None:
    """Rank the neighbours of images again, in place, for which there is a pair that they do not have. rows,
    scores: [n, k], what was found; the pairs are all that are as near as the last of those.
    """
    num, k = rows.shape
    known = (np.arange(num)[:, None] * num + rows)[rows >= 0]
    missed = ~np.isin(receivers * num + senders, known)
    lacking = np.unique(receivers[missed])
    asked = np.isin(receivers, lacking)
    receivers, senders = receivers[asked], senders[asked]
    cosines = cosines_of(vectors, receivers, senders)
    best_rows, best_cols, weights = best_pairs(receivers, senders, cosines, k, threshold)
    rank = np.arange(len(best_rows)) - np.searchsorted(best_rows, best_rows)
    rows[lacking], scores[lacking] = -1, -np.inf
    rows[best_rows, rank], scores[best_rows, rank] = best_cols, weights


def _scan_tied(
    vectors: Float32Array, images: Int64Array, tied: list[int], scores: Float32Array, rows: Int64Array
) -> None:
    """Redo, in place, the images whose neighbours were cut off inside a tie: copies of one picture, as a
    rule. tied: their places among `images`.

    Copies share one scan, so a catalogue of ten thousand blank pictures costs one.
    """
    if not tied:
        return
    k = rows.shape[1]
    distinct, group = np.unique(vectors[images[tied]], axis=0, return_inverse=True)
    for number, vector in enumerate(distinct):
        best_scores, best_rows = best_of(vector, vectors, k + 1)
        for place in np.asarray(tied)[group.reshape(-1) == number]:
            others = best_rows != images[place]
            scores[place], rows[place] = best_scores[others][:k], best_rows[others][:k]
