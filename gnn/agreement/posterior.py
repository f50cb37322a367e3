"""How probably an edge is right, from how its score compares with that of pairs put together at random."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

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
    and more score is never less belief (isotonic regression). Without chance to compare with, all edges are
    believed; where all of chance has one score, those above it are.
    """
    if not len(scores) or len(chance) < _BINS:
        return Belief(np.ones(len(scores), dtype=np.float32), 0.0)
    # Ties would otherwise leave bins empty: between two cuts, and, where many pairs have the lowest score of
    # all ("nothing known"), the first one, from which the share of wrong edges is read.
    cuts = np.unique(np.quantile(chance, np.linspace(0, 1, _BINS + 1)[1:-1]))
    cuts = cuts[cuts > chance.min()]
    if not cuts.size:
        cuts = np.nextafter(chance.max(keepdims=True), np.inf)
    expected = np.bincount(np.searchsorted(cuts, chance, side="right"), minlength=len(cuts) + 1) / len(chance)
    place = np.searchsorted(cuts, scores, side="right")
    found = np.bincount(place, minlength=len(cuts) + 1) / len(scores)
    low = np.cumsum(expected) <= _TAIL / _BINS + 1e-9
    low[0] = True
    wrong = min(float(found[low].sum() / expected[low].sum()), 1.0)
    # Not the highest so far: one low bin that is full by chance would lift all bins above it.
    ratio = isotonic_regression(found / np.maximum(expected, 1e-12), weights=np.maximum(expected, 1e-12)).x
    right = np.clip(1.0 - wrong / np.maximum(ratio, 1e-12), 0.0, 1.0)
    return Belief(right[place].astype(np.float32), wrong)
