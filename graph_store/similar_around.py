"""Which images of a large catalogue new ones come near to, without comparing each with all.

An image has its neighbours where a new image that comes among them has its own. So it is a neighbour of the
new one, has a neighbour in common with it, or is a neighbour's neighbour (as in NN-descent: Dong, Moses and
Li 2011); of 100,000 images in clusters 99.9 % of those that a comparison of all pairs finds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.exact import MARGIN, scores_of_pairs
from graph_store.similar import best_pairs, cosines_of

_PAIRS = 2**20
"""So many pairs are looked at at a time, or those of one new image."""


def nearer_around(
    vectors: Float32Array,
    images: Int64Array,
    new: Int64Array,
    worst: Float32Array,
    edges: Csr,
    beside: Csr,
    k: int,
) -> tuple[Int64Array, Int64Array]:
    """Pairs of one of `images` [m] and one of the `new` ones [n], rising rows of `vectors`, whose cosine is
    at least the `worst` [m] that the image has; about all of them. But where there are many, only the k
    nearest of an image.

    edges: the neighbours of each of the images; beside: those of each new one; both name rows of `vectors`.
    """
    place = inverse(images, len(vectors))
    wanted = np.zeros(len(vectors), dtype=np.bool_)
    wanted[beside.indices] = True
    picked = np.flatnonzero(wanted[edges.indices])
    knowing = Csr.from_edges(
        edges.indices[picked], edges.edge_rows()[picked], edges.weights[picked], len(vectors)
    )
    rows, cols = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    held, full = 0, _PAIRS
    for start, stop in _parts(_reached(beside, knowing, edges, place), _PAIRS):
        near = beside.take(np.arange(start, stop))
        whose, first = near.edge_rows(), place[near.indices]
        sharing, further = knowing.take(near.indices), edges.take(first[first >= 0])
        found = np.concatenate([first, sharing.indices, place[further.indices]])
        asking = np.concatenate([whose, whose[sharing.edge_rows()], whose[first >= 0][further.edge_rows()]])
        pairs = np.sort(asking[found >= 0] * len(images) + found[found >= 0])
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
        number, image = start + pairs // max(1, len(images)), pairs % max(1, len(images))
        near_enough = scores_of_pairs(vectors, new[number], images[image]) >= worst[image] - MARGIN
        rows.append(images[image[near_enough]])
        cols.append(new[number[near_enough]])
        held += len(rows[-1])
        if held > full:
            nearest = nearest_of_each(vectors, np.concatenate(rows), np.concatenate(cols), k)
            rows, cols, held = [nearest[0]], [nearest[1]], len(nearest[0])
            full = max(_PAIRS, 2 * held)  # so that those kept are not ranked again each time
    return np.concatenate(rows), np.concatenate(cols)


def nearest_of_each(
    vectors: Float32Array, rows: Int64Array, cols: Int64Array, k: int
) -> tuple[Int64Array, Int64Array]:
    """Of these pairs the k nearest of each row, ties by lower column. Only where there are more is a cosine
    computed.
    """
    _, group, count = np.unique(rows, return_inverse=True, return_counts=True)
    many = (count > k)[group]
    if not many.any():
        return rows, cols
    cosines = cosines_of(vectors, rows[many], cols[many])
    best_rows, best_cols, _ = best_pairs(rows[many], cols[many], cosines, k, -np.inf)
    return np.concatenate([rows[~many], best_rows]), np.concatenate([cols[~many], best_cols])


def _reached(beside: Csr, knowing: Csr, edges: Csr, place: Int64Array) -> Int64Array:
    """[n + 1]: how many pairs there are to look at up to each new image. Copies of one picture all know the
    first of them, so that one new image may come near to very many.
    """
    first = place[beside.indices]
    further = np.where(first >= 0, np.append(edges.degrees(), 0)[first], 0)
    ends = np.cumsum(1 + knowing.degrees()[beside.indices] + further)
    return np.append(0, ends)[beside.indptr]


def _parts(ends: Int64Array, most: int) -> Iterator[tuple[int, int]]:
    """Cuts a row of things into parts, each with a size of at most `most` or one thing. ends: [n + 1], the
    size of all before each.
    """
    start = 0
    while start < len(ends) - 1:
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + most, side="right")) - 1)
        yield start, stop
        start = stop


def inverse(old_of: Int64Array, num_old: int) -> Int64Array:
    """[num_old]: where each old row is now, -1 where it is no more."""
    new_of = np.full(num_old, -1, dtype=np.int64)
    kept = np.flatnonzero(old_of >= 0)
    new_of[old_of[kept]] = kept
    return new_of
