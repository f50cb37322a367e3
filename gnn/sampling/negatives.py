"""Negative nodes in proportion to degree^0.75, and the removal of those that are in truth positive.

The exponent is that of word2vec (Mikolov et al. 2013, §2.2), which GraphSAGE takes over.
"""

from __future__ import annotations

import numpy as np

from gnn.sampling.nodes import LinkSet
from gnn.sampling.walks import Pairs
from graph_store.arrays import AnyArray, BoolArray, Float32Array, Int64Array
from graph_store.errors import BadInput

EXPONENT = 0.75


class NegativeSampler:
    """Draws from 0..n-1 with P(i) ∝ degree_i^exponent, with replacement; isolated nodes are never drawn.

    When no node has an edge, all are equally likely. Binary search in the cumulated weights: a draw costs
    log n, the table 8 bytes a node.
    """

    def __init__(self, degrees: Int64Array, exponent: float = EXPONENT) -> None:
        if degrees.size == 0:
            raise BadInput("there is no node to draw negatives from")
        weights = np.where(degrees > 0, np.maximum(degrees, 1).astype(np.float64) ** exponent, 0.0)
        if not weights.any():
            weights[:] = 1.0
        self._cumulated = np.cumsum(weights)
        # Rounding may put a draw past the end: it then means the last node that can be drawn at all.
        self._last = int(np.flatnonzero(weights)[-1])
        self.probabilities: AnyArray = weights / self._cumulated[-1]

    def sample(self, count: int, rng: np.random.Generator) -> Int64Array:
        """[count] int64."""
        draws = rng.random(count) * self._cumulated[-1]
        # side="right" skips nodes of zero weight, whose interval is empty.
        places: Int64Array = np.searchsorted(self._cumulated, draws, side="right")
        return np.minimum(places, self._last)

    def log_chosen(
        self, nodes: Int64Array, count: int, forced: AnyArray | float = 0.0, batch: int = 0
    ) -> Float32Array:
        """log of the chance that each of ``nodes`` [n] is among ``count`` draws, or is put there by one of a
        batch, each of which does so with a chance of its own, ``forced`` [n] = f:

            log q = log(1 - (1 - p)^count · (1 - f)^batch),

        the log-Q of a sampled softmax whose targets are candidates too.
        """
        with np.errstate(divide="ignore"):  # log 0: certain to be there
            log_absent = count * np.log1p(-self.probabilities[nodes])
            if batch:
                log_absent = log_absent + batch * np.log1p(-np.asarray(forced))
        chance = np.maximum(-np.expm1(log_absent), np.finfo(np.float32).tiny)
        result: Float32Array = np.log(chance).astype(np.float32)
        return result


def accidental_hits(pairs: Pairs, negatives: Int64Array, links: LinkSet | None) -> BoolArray:
    """[p, q] bool: negative j must not count for pair i.

    It is the source or the target itself, or (with ``links``) a node that is linked with the source. The last
    matters for tags: the most frequent negatives are often tags that the image truly carries.
    negatives: [q] shared by all pairs, or [p, q], in the pairs' numbering.
    """
    drawn = np.broadcast_to(negatives, (len(pairs.source), negatives.shape[-1]))
    hits: BoolArray = (drawn == pairs.source[:, None]) | (drawn == pairs.target[:, None])
    if links is not None:
        hits |= links.contains(pairs.source[:, None], drawn)
    return hits
