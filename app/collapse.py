"""Near copies among results: each is folded into the best result that it is a copy of."""

from __future__ import annotations

import numpy as np

from graph_store.arrays import Float32Array


def fold(features: Float32Array, threshold: float, most: int | None = None) -> dict[int, list[int]]:
    """For each result that stays, in order, the places of its near copies.

    features: [n, dim] of the results, the best first, any norm. A result is folded into the first that stays
    with which its features have a cosine of at least `threshold`. Whether a result stays depends on those
    before it only, so a longer list begins as a shorter one does. At most `most` stay; what comes after the
    last of them is not looked at.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norms > 0, norms, 1)
    kept = np.empty_like(unit)
    copies: dict[int, list[int]] = {}
    leaders: list[int] = []
    # Of equal features the cosine in float32 may be a little less than one.
    least = threshold - 1e-6
    for place, vector in enumerate(unit):
        alike = np.flatnonzero(kept[: len(leaders)] @ vector >= least)
        if alike.size:
            copies[leaders[int(alike[0])]].append(place)
            continue
        if most is not None and len(leaders) == most:
            break
        kept[len(leaders)] = vector
        leaders.append(place)
        copies[place] = []
    return copies
