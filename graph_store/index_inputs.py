"""What is checked before vectors, queries or filters reach an index, whichever engine is behind it."""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import BadInput

_AT_ONCE = 65_536
"""Vectors that are looked at together: all at once would take a quarter of their room again."""


def checked_vectors(vectors: Float32Array, dim: int | None) -> Float32Array:
    """The same [n, dim], contiguous float32. Raises BadInput for another shape and for NaN or infinity."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != (dim or vectors.shape[1]):
        raise BadInput(f"Vectors of shape {list(vectors.shape)} where [n, {dim or 'dim'}] is needed")
    for start in range(0, len(vectors), _AT_ONCE):
        finite = np.isfinite(vectors[start : start + _AT_ONCE]).all(axis=1)
        if not bool(finite.all()):
            raise BadInput(f"Vector {start + int(np.argmin(finite))} holds a number that is not finite")
    return vectors


def sorted_rows(rows: Int64Array, size: int) -> Int64Array:
    """The same rows, each once and rising. Raises ValueError for one outside [0, size)."""
    rows = np.asarray(rows, dtype=np.int64)
    if not bool(np.all(rows[1:] > rows[:-1])):
        rows = np.unique(rows)
    if len(rows) and not 0 <= rows[0] <= rows[-1] < size:
        raise ValueError(f"allowed rows must lie in [0, {size})")
    return rows


def checked_search(
    queries: Float32Array, k: int, allowed: Int64Array | None, dim: int, size: int
) -> tuple[Float32Array, Int64Array | None]:
    """Queries [n, dim] and allowed rows of a search for the best k among `size`; all rows are None. Raises
    BadInput for queries of another shape or not finite, and ValueError for a wrong k or allowed row.
    """
    queries = checked_vectors(queries, dim)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if allowed is not None:
        allowed = sorted_rows(allowed, size)
        if len(allowed) == size:
            allowed = None
    return queries, allowed
