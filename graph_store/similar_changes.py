"""`similar` edges after a change: those of before, where it left them, and new ones where it did not.

An image's edges are stale when it is new, or when it had k of them and one has gone: what comes next then is
not known. Any other image keeps those edges whose sender is still there, and gains a new image where that is
nearer than its last. So the result is that of :func:`graph_store.similar.similar_edges` wherever the edges
of before were exact.
"""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.exact import MARGIN, pair_scores
from graph_store.neighbour_index import NeighbourIndex
from graph_store.progress import Progress
from graph_store.similar import edges_of

_PRODUCTS = 2**24
"""So many cosines, 64 MiB, are looked at at a time."""

_NONE = np.zeros(0, np.float32)


def changed_edges(
    vectors: Float32Array,
    before: Csr,
    old_of: Int64Array,
    k: int,
    threshold: float,
    progress: Progress | None = None,
    index: NeighbourIndex | None = None,
) -> Csr:
    """The `similar` edges of `vectors` [n, d]. before: the edges of an earlier catalogue, made with the same
    k and threshold; old_of: [n] each image's row there, rising, -1 for one that is new or looks different;
    index: over `vectors`, where there is one.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    kept, new = np.flatnonzero(old_of >= 0), np.flatnonzero(old_of < 0)
    edges = before.take(old_of[kept])
    senders = inverse(old_of, before.num_rows)[edges.indices]
    left = np.bincount(edges.edge_rows()[senders >= 0], minlength=len(kept))
    known = (edges.degrees() < k) | (left == k)
    stale = np.sort(np.concatenate([new, kept[~known]]))
    fresh = edges_of(stale, vectors, k, threshold, progress, index)
    rows, cols = _nearer(vectors, kept[known], new, edges.take(np.flatnonzero(known)), k, threshold)
    gaining = np.zeros(len(vectors), dtype=np.bool_)
    gaining[rows] = True
    receivers = kept[edges.edge_rows()]
    stays = known[edges.edge_rows()] & (senders >= 0)
    as_before = stays & ~gaining[receivers]
    rivals = stays & gaining[receivers]
    pairs = np.concatenate([receivers[rivals], rows]), np.concatenate([senders[rivals], cols])
    best_rows, best_cols, best_weights = _best(vectors, *pairs, k, threshold)
    return Csr.from_edges(
        np.concatenate([receivers[as_before], stale[fresh.edge_rows()], best_rows]),
        np.concatenate([senders[as_before], fresh.indices, best_cols]),
        np.concatenate([edges.weights[as_before], fresh.weights, best_weights]),
        len(vectors),
    )


def inverse(old_of: Int64Array, num_old: int) -> Int64Array:
    """[num_old]: where each old row is now, -1 where it is no more."""
    new_of = np.full(num_old, -1, dtype=np.int64)
    kept = np.flatnonzero(old_of >= 0)
    new_of[old_of[kept]] = kept
    return new_of


def _nearer(
    vectors: Float32Array, images: Int64Array, new: Int64Array, edges: Csr, k: int, threshold: float
) -> tuple[Int64Array, Int64Array]:
    """Pairs of an image and a new one that may be among its k nearest. edges: of the images, as they were."""
    rows, cols = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    if not len(new):
        return rows[0], cols[0]
    full = edges.degrees() >= k
    worst = np.full(len(images), threshold, dtype=np.float32)
    worst[full] = np.maximum(edges.weights[edges.indptr[1:][full] - 1], threshold)
    arrived = np.ascontiguousarray(vectors[new].T)
    step = max(1, _PRODUCTS // len(new))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        near = vectors[images[part]] @ arrived >= worst[part, None] - MARGIN
        row, col = np.nonzero(near)
        rows.append(images[part][row])
        cols.append(new[col])
    return np.concatenate(rows), np.concatenate(cols)


def _best(
    vectors: Float32Array, rows: Int64Array, cols: Int64Array, k: int, threshold: float
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Of these pairs the k nearest of each row, nearest first, ties by lower column; with their cosines."""
    scores = pair_scores(vectors[rows], vectors, cols[:, None])[:, 0] if len(rows) else _NONE
    order = np.lexsort((cols, -scores, rows))
    rows, cols, scores = rows[order], cols[order], scores[order]
    _, first, count = np.unique(rows, return_index=True, return_counts=True)
    kept = (np.arange(len(rows)) - np.repeat(first, count) < k) & (scores >= threshold)
    return rows[kept], cols[kept], np.clip(scores[kept], -1.0, 1.0)
