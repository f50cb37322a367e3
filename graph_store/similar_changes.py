"""`similar` edges after a change: those of before, where it left them, and new ones where it did not.

An image's edges are stale when it is new, or when it had k of them and one has gone: what comes next then is
not known. Any other image keeps those edges whose sender is still there, and gains a new image where that is
nearer than its last. So the result is that of :func:`graph_store.similar.similar_edges` wherever the edges
of before were exact; where they were not, in a larger catalogue, and now would be, all are made anew. Where
more images are stale than can be compared with all, either all edges are made anew, or, in a catalogue so
large that those would not be exact either, an image is compared with those around it.
"""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.exact import MARGIN
from graph_store.neighbour_index import NeighbourIndex
from graph_store.progress import Progress
from graph_store.similar import best_pairs, cosines_of, edges_of, is_exact, is_verified, similar_edges
from graph_store.similar_around import inverse, nearer_around, nearest_of_each

_PRODUCTS = 2**24
"""So many cosines, 64 MiB, are looked at at a time."""

_ROWS = 2**16
"""The vectors of so many images are copied at a time."""

_PAIRS = 2**18
"""Of so many pairs, all of which are near where there are copies, those to keep are chosen at a time."""


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
    if is_verified(len(vectors)) and not is_verified(before.num_rows):
        # Those of before were not all found, and now all are.
        return similar_edges(vectors, k, threshold, progress, index)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    kept, new = np.flatnonzero(old_of >= 0), np.flatnonzero(old_of < 0)
    edges = before.take(old_of[kept])
    senders = inverse(old_of, before.num_rows)[edges.indices]
    left = np.bincount(edges.edge_rows()[senders >= 0], minlength=len(kept))
    known = (edges.degrees() < k) | (left == k)
    stale = np.sort(np.concatenate([new, kept[~known]]))
    if is_verified(len(vectors)) and not is_exact(len(vectors), len(stale)):
        return similar_edges(vectors, k, threshold, progress, index)
    fresh = edges_of(stale, vectors, k, threshold, progress, index)
    held = edges.take(np.flatnonzero(known))
    worst = _worst(held, k, threshold)
    if is_exact(len(vectors), len(new)):
        rows, cols = _nearer(vectors, kept[known], new, worst, k)
    else:
        there = senders[known[edges.edge_rows()]]
        degrees = np.bincount(held.edge_rows()[there >= 0], minlength=held.num_rows)
        stays_known = Csr.from_rows(degrees, there[there >= 0], held.weights[there >= 0])
        beside = fresh.take(np.searchsorted(stale, new))
        if index is not None:
            beside = _rows_of(index.near(vectors[new], 2 * k, threshold))
        rows, cols = nearer_around(vectors, kept[known], new, worst, stays_known, beside, k)
    gaining = np.zeros(len(vectors), dtype=np.bool_)
    gaining[rows] = True
    receivers = kept[edges.edge_rows()]
    stays = known[edges.edge_rows()] & (senders >= 0)
    as_before = stays & ~gaining[receivers]
    rivals = stays & gaining[receivers]
    cosines = np.concatenate([edges.weights[rivals], np.ones(len(rows), np.float32)])
    rows, cols = np.concatenate([receivers[rivals], rows]), np.concatenate([senders[rivals], cols])
    # Not known yet are those of new pairs; and what was cut off above 1, which decides among copies.
    unknown = cosines >= 1 - MARGIN
    cosines[unknown] = cosines_of(vectors, rows[unknown], cols[unknown])
    best_rows, best_cols, best_weights = best_pairs(rows, cols, cosines, k, threshold)
    return Csr.from_edges(
        np.concatenate([receivers[as_before], stale[fresh.edge_rows()], best_rows]),
        np.concatenate([senders[as_before], fresh.indices, best_cols]),
        np.concatenate([edges.weights[as_before], fresh.weights, best_weights]),
        len(vectors),
    )


def _rows_of(rows: Int64Array) -> Csr:
    """Found rows [n, k], -1 for a gap, as edges."""
    found = rows >= 0
    return Csr.from_rows(found.sum(axis=1), rows[found], np.ones(int(found.sum())))


def _worst(edges: Csr, k: int, threshold: float) -> Float32Array:
    """[num_rows]: how near another image must be to come among the k nearest."""
    full = edges.degrees() >= k
    worst = np.full(edges.num_rows, threshold, dtype=np.float32)
    worst[full] = np.maximum(edges.weights[edges.indptr[1:][full] - 1], threshold)
    return worst


def _nearer(
    vectors: Float32Array, images: Int64Array, new: Int64Array, worst: Float32Array, k: int
) -> tuple[Int64Array, Int64Array]:
    """Pairs of an image and a new one that may be among its k nearest, at most k of each image. images [m],
    new [n]: rising rows of `vectors`; worst: [m].
    """
    rows, cols = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    new = _first_copies(vectors, new, k)
    if not len(new):
        return rows[0], cols[0]
    arrived = np.ascontiguousarray(vectors[new].T)
    step, few = _step(len(new)), max(1, _PAIRS // len(new))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        near = _vectors_at(vectors, images[part]) @ arrived >= worst[part, None] - MARGIN
        for begin in range(0, len(near), few):
            places = np.flatnonzero(near[begin : begin + few])  # in two axes it takes several times as long
            row, col = np.divmod(places, len(new))
            nearest = nearest_of_each(vectors, images[start + begin + row], new[col], k)
            rows.append(nearest[0])
            cols.append(nearest[1])
    return np.concatenate(rows), np.concatenate(cols)


def _step(num_new: int) -> int:
    """How many images are compared with the new ones at a time: neither their cosines nor copies of their
    vectors may fill the memory.
    """
    return min(_ROWS, max(1, _PRODUCTS // num_new))


def _vectors_at(vectors: Float32Array, rows: Int64Array) -> Float32Array:
    """The vectors [n, d] of rising rows [n]; not copied where no row between them is left out."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return vectors[rows[0] : rows[-1] + 1]
    return vectors[rows]


def _first_copies(vectors: Float32Array, rows: Int64Array, k: int) -> Int64Array:
    """Of rows whose vectors are the same to the bit the first k, rising; rows: rising.

    To any other image they are all as near, so that no later one comes among its k nearest.
    """
    looks = np.ascontiguousarray(vectors[rows])
    row_of_bytes = np.dtype((np.void, looks.shape[1] * looks.itemsize))
    # One opaque item a row: sorting rows number by number takes many times as long.
    _, group = np.unique(looks.view(row_of_bytes).reshape(-1), return_inverse=True)
    order = np.argsort(group, kind="stable")
    rank = np.arange(len(rows)) - np.searchsorted(group[order], group[order])
    return np.sort(rows[order[rank < k]])
