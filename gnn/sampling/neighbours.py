"""Picking at most ``fan_out`` neighbours of many nodes at once, without a loop over nodes.

Rows with at most ``fan_out`` edges are taken whole. From a longer row, systematic sampling takes every
(degree / fan_out)-th edge from one random start (Madow 1944): the edges are distinct, each has the same
chance fan_out / degree, and one random number a row is enough. Since rows are ordered by weight, the picks
also spread evenly over strong and weak neighbours, so a sampled mean varies less than with independent
picks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graph_store.arrays import BoolArray, Int64Array
from graph_store.csr import Csr


class Picks(NamedTuple):
    """``edges`` [n, width] int64: positions in the relation's edge arrays; valid where ``mask`` is true.

    ``width`` is the fan-out, or the highest degree among the rows where that is less: most places of a
    rectangle as wide as a generous fan-out would be empty.
    """

    edges: Int64Array
    mask: BoolArray


def pick_neighbours(csr: Csr, rows: Int64Array, fan_out: int, rng: np.random.Generator) -> Picks:
    """At most ``fan_out`` distinct edges of each of ``rows`` [n]; masked places hold the position 0."""
    first = csr.indptr[rows]
    degree = csr.indptr[rows + 1] - first
    slots = np.arange(min(fan_out, int(degree.max(initial=0))))
    mask: BoolArray = slots < degree[:, None]
    edges = slots + first[:, None]
    long = np.flatnonzero(degree > fan_out)
    if long.size:
        stride = degree[long, None] / fan_out
        spread = ((slots + rng.random((long.size, 1))) * stride).astype(np.int64)
        # Rounding may lift the last pick onto the row's end when the random start is just below 1.
        edges[long] = np.minimum(spread, degree[long, None] - 1) + first[long, None]
    if not mask.all():
        edges *= mask
    return Picks(edges, mask)
