"""Which images of a large catalogue new ones come near to, without comparing each with all.

An image has its neighbours where a new image that comes among them has its own. So it is a neighbour of the
new one, has a neighbour in common with it, or is a neighbour's neighbour (as in NN-descent: Dong, Moses and
Li 2011); of 100,000 images in clusters 99.9 % of those that a comparison of all pairs finds.
"""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.exact import MARGIN, scores_of_pairs

_PAIRS = 2**22
"""About so many pairs are looked at at a time."""


def nearer_around(
    vectors: Float32Array, images: Int64Array, new: Int64Array, worst: Float32Array, edges: Csr, beside: Csr
) -> tuple[Int64Array, Int64Array]:
    """Pairs of one of `images` [m] and one of the `new` ones [n], rising rows of `vectors`, whose cosine is
    at least the `worst` [m] that the image has; about all of them.

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
    step = max(1, _PAIRS // max(1, int(beside.degrees().max(initial=1)) ** 2))
    for start in range(0, len(new), step):
        near = beside.take(np.arange(start, min(start + step, len(new))))
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
    return np.concatenate(rows), np.concatenate(cols)


def inverse(old_of: Int64Array, num_old: int) -> Int64Array:
    """[num_old]: where each old row is now, -1 where it is no more."""
    new_of = np.full(num_old, -1, dtype=np.int64)
    kept = np.flatnonzero(old_of >= 0)
    new_of[old_of[kept]] = kept
    return new_of
