"""How probably an edge is right, from how its score compares with that of pairs put together at random."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graph_store.arrays import AnyArray, Float32Array

_BINS = 20
_TAIL = 4


class Belief(NamedTuple):
    """``right``: [edges] probabilities; ``wrong_share``: how many edges are estimated to be wrong."""

    right: Float32Array
    wrong_share: float


def believe(scores: AnyArray, chance: AnyArray) -> Belief:
    """scores: [edges]; chance: [m] scores of random pairs, the more the likelier.

    Local false discovery rate (Efron et al. 2001): if a share ρ of the edges joins at random, a random pair's
    score is so frequent among the edges as well, p(right | s) = 1 - ρ p_chance(s) / p_edges(s). ρ comes from
    the lowest scores, where hardly a right edge lies (Storey 2002); densities from equal shares of `chance`,
    and more score is never less belief. Without chance to compare with, all edges are believed.
    """
    if not len(scores) or len(chance) < _BINS:
        return Belief(np.ones(len(scores), dtype=np.float32), 0.0)
    # Ties, above all at the score of "nothing known", would otherwise leave bins empty.
    cuts = np.unique(np.quantile(chance, np.linspace(0, 1, _BINS + 1)[1:-1]))
    expected = np.bincount(np.searchsorted(cuts, chance, side="right"), minlength=len(cuts) + 1) / len(chance)
    place = np.searchsorted(cuts, scores, side="right")
    found = np.bincount(place, minlength=len(cuts) + 1) / len(scores)
    low = np.cumsum(expected) <= _TAIL / _BINS + 1e-9
    low[0] = True
    wrong = min(float(found[low].sum() / expected[low].sum()), 1.0)
    ratio = np.maximum(found, 1e-12) / np.maximum(expected, 1e-12)
    right = np.maximum.accumulate(np.clip(1.0 - wrong / ratio, 0.0, 1.0))
    return Belief(right[place].astype(np.float32), wrong)
