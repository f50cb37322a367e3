"""All pairs of a catalogue that are nearer than what each image has found so far: what makes approximate
neighbours exact.
"""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.exact import MARGIN
from graph_store.progress import Advance

_ROWS, _COLUMNS = 1024, 4096
"""Sixteen megabytes of cosines at a time: they stay in the cache."""


def pairs_above(
    vectors: Float32Array, worst: Float32Array, most: int, advance: Advance = lambda _: None
) -> tuple[Int64Array, Int64Array] | None:
    """Pairs (i, j), i ≠ j, with v_i · v_j ≥ worst_i, and perhaps a few that are below by rounding; None where
    there are more than `most`: thousands of copies of one picture are all as near to each other.

    vectors: [n, d]; worst: [n]. Each product is computed once for both of its images: n²·d operations, half
    of what asking for each image's nearest takes. And nothing has to be sorted: with images in the order of
    `worst` one number stands for a whole block of them, and few pairs pass it in vain.
    """
    order = np.argsort(worst, kind="stable")
    vectors, least = np.ascontiguousarray(vectors[order]), worst[order] - MARGIN
    num = len(vectors)
    rows, cols, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    products = np.empty(_ROWS * _COLUMNS, np.float32)
    for start in range(0, num, _ROWS):
        own = vectors[start : start + _ROWS]
        for begin in range(start, num, _COLUMNS):
            others = vectors[begin : begin + _COLUMNS]
            shape = len(own), len(others)
            block = products[: shape[0] * shape[1]].reshape(shape)
            np.matmul(own, others.T, out=block)
            places = np.flatnonzero(block >= least[start])
            cosines = block.reshape(-1)[places]
            one, other = np.divmod(places, len(others))
            one, other = one + start, other + begin
            once = one < other  # a block on the diagonal has each pair twice
            hears, heard = once & (cosines >= least[one]), once & (cosines >= least[other])
            rows += [one[hears], other[heard]]
            cols += [other[hears], one[heard]]
            found += len(rows[-1]) + len(rows[-2])
            if found > most:
                return None
        advance(len(own))
    return order[np.concatenate(rows)], order[np.concatenate(cols)]
