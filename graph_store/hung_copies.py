"""Many copies of one vector in an HNSW index: a few are linked like any other, and the rest hang from them.

FAISS links a vector to what is nearest to it. A copy's links then all lead to other copies, so that a walk
that enters a block of them does not come out, and what lies behind it is found by nobody. A few copies leave
each other links to spare. The rest form a tree below them: they are found, filtered and begun at like any
row, by FAISS itself and from an ordinary file, but no other vector's links lead to them or past them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graph_store.arrays import BoolArray, Int32Array, Int64Array
from graph_store.faiss_api import faiss

LINKED = 32
"""So many copies are linked: half of the links that one has."""


def is_linked(groups: list[Int64Array], num: int) -> BoolArray:
    """[num] bool: which rows are linked. groups: ascending rows, each of more than 2 · LINKED copies."""
    linked: BoolArray = np.ones(num, np.bool_)
    for rows in groups:
        linked[rows[LINKED:]] = False
    return linked


def hang(index: Any, groups: list[Int64Array], num: int) -> None:
    """Give an HNSW index over the linked rows of `num`, in their order, the other ones too. The vectors that
    it holds are to be put in their places afterwards.
    """
    hnsw, linked = index.hnsw, is_linked(groups, num)
    levels = np.ones(num, np.int32)
    levels[linked] = faiss.vector_to_array(hnsw.levels)
    sizes = faiss.vector_to_array(hnsw.cum_nneighbor_per_level)[levels]
    begins = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    links = np.full(begins[-1], -1, np.int32)
    rows = np.append(np.flatnonzero(linked), -1).astype(np.int32)  # -1, which is no link, stays -1
    links[np.repeat(linked, sizes)] = rows[faiss.vector_to_array(hnsw.neighbors)]
    for copies in groups:
        _hang_each(links, begins, copies)
    faiss.copy_array_to_vector(levels, hnsw.levels)
    faiss.copy_array_to_vector(begins.astype(np.uint64), hnsw.offsets)
    faiss.copy_array_to_vector(links, hnsw.neighbors)
    hnsw.entry_point = int(rows[hnsw.entry_point])
    index.ntotal = num


def has_hung(index: Any) -> bool:
    """Whether rows of an HNSW index hang: their links are, first, the linked copies, ascending; a linked row
    has them in no such order.
    """
    links = faiss.vector_to_array(index.hnsw.neighbors)
    begins = faiss.vector_to_array(index.hnsw.offsets)[:-1].astype(np.int64)
    begins = begins[links[begins] >= 0]
    for place in range(LINKED - 1):
        begins = begins[links[begins + place] < links[begins + place + 1]]
    return len(begins) > 0


def _hang_each(links: Int32Array, begins: Int64Array, copies: Int64Array) -> None:
    """Each linked copy gets one below it, and each that hangs up to LINKED; it leads back to all that are
    linked.
    """
    above, hung = copies[:LINKED], copies[LINKED:]
    links[begins[hung][:, None] + np.arange(LINKED)] = above
    for row, below in zip(above, hung, strict=False):
        own = links[begins[row] : begins[row] + 2 * LINKED]
        # A free place, which is the first of them, or that of a fellow copy: there are others to it.
        own[np.argmax(2 * (own < 0) + np.isin(own, above))] = below
    below = hung[LINKED:]
    which, place = np.divmod(np.arange(len(below)), LINKED)
    links[begins[hung[which]] + LINKED + place] = below
