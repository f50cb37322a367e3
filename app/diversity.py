"""Results that resemble each other less: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_store.arrays import AnyArray, Float32Array, Int64Array


def marginal_relevance(
    vectors: Float32Array,
    relevance: AnyArray,
    diversity: float,
    k: int,
    first: Sequence[int] = (),
) -> Int64Array:
    """The order in which to show candidates: at each step the one with the greatest

        (1 - diversity) · relevance(i) - diversity · max over shown j of cos(i, j).

    vectors: [n, dim] float32, any norm; relevance: [n]; returns [min(k, n)] positions. With diversity 0 the
    order is that of relevance, ties by position. `first` are positions that were shown already: they come
    first, in their order.
    """
    count = len(relevance)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1)
    own = (1 - diversity) * np.asarray(relevance, dtype=np.float64)
    nearest = np.full(count, -np.inf)
    left = np.ones(count, dtype=np.bool_)
    order = np.empty(min(k, count), dtype=np.int64)
    for step in range(order.size):
        # Nothing is shown at first, so relevance alone decides.
        value = own if step == 0 else own - diversity * nearest
        best = first[step] if step < len(first) else int(np.argmax(np.where(left, value, -np.inf)))
        order[step] = best
        left[best] = False
        np.maximum(nearest, unit @ unit[best], out=nearest)
    return order
