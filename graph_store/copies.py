"""Vectors that many rows share: one picture many times, as a placeholder for those that are missing."""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.mapped_pages import streamed

_AT_ONCE = 65_536
_DIRECTIONS, _CELL = 8, 2.0**-10
"""Copies that were computed in different batches differ in their last bits, so their bytes do not tell them.
They lie in one cell of this width along every one of some random directions; others, whose cosine is even
0.99999, hardly ever do.
"""


def groups_of_copies(vectors: Float32Array, most: int) -> list[Int64Array]:
    """The rows, ascending, of each vector that more than `most` of `vectors` [n, dim] are, norm about 1 and
    equal but for rounding. They may be mapped, and are read once.
    """
    random = np.random.default_rng(0)
    directions = random.standard_normal((vectors.shape[1], _DIRECTIONS)).astype(np.float32)
    mixed_by = random.integers(-(2**62), 2**62, _DIRECTIONS) | 1
    keys = np.zeros(len(vectors), np.int64)
    for start, stop in streamed(len(vectors), _AT_ONCE, vectors):
        cells = np.floor(vectors[start:stop] @ directions / np.float32(_CELL)).astype(np.int64)
        keys[start:stop] = (cells * mixed_by).sum(axis=1)  # overflows, as a hash may
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.diff(keys[order], prepend=keys[order[:1]] - 1))
    sizes = np.diff(begins, append=len(keys))
    return [order[begin : begin + size] for begin, size in zip(begins, sizes, strict=True) if size > most]
