"""Measures of multi-label hashing: how much the first results share with the query.

The gain of a result is the number of tags that it shares with the query (not Jaccard), as usual where codes
for multi-label search are compared: Zhao et al., *Deep semantic ranking based hashing* (CVPR 2015); Ma, Lu
and Zhou (TMM 2020). shared: [num_queries, num_ranked] gains, best result first. Every measure is
[num_queries]. Those that see all that is indexed are NaN where nothing of it shares a tag with the query.
"""

from __future__ import annotations

import numpy as np

from gnn.evaluation.metrics import Float64Array, ndcg_at_k
from graph_store.arrays import Float32Array

CUT = 100


def exponential_ndcg(shared: Float32Array, ideal: Float32Array, k: int = CUT) -> Float64Array:
    """NDCG@k = DCG / best DCG, DCG = Σ_(i ≤ k) (2^r_i - 1) / log2(1 + i), r_i tags shared at rank i.

    Järvelin and Kekäläinen 2002 in the form of Burges et al. 2005. ideal: [num_queries, >= k] the largest
    gains there are, falling.
    """
    return ndcg_at_k(np.exp2(shared[:, :k]) - 1, np.exp2(ideal[:, :k]) - 1, k)


def average_gain(shared: Float32Array, k: int = CUT) -> Float64Array:
    """ACG@k = Σ_(i ≤ k) r_i / k: tags shared, on average, by the first k (Järvelin and Kekäläinen 2000).

    0 where none of them shares one: what was not ranked may, so whether a query counts is for the caller.
    """
    gains: Float64Array = shared[:, :k].astype(np.float64).sum(axis=1) / k
    return gains


def weighted_map(shared: Float32Array) -> Float64Array:
    """Weighted mean average precision: the mean of ACG@i over all ranks i whose result shares a tag.

    Σ_i [r_i > 0] ACG@i / Σ_i [r_i > 0], over the whole ranking. With gains of 0 and 1 this is the usual
    average precision. shared: [num_queries, num_indexed].
    """
    ranks = np.arange(1, shared.shape[1] + 1)
    gains = np.cumsum(shared, axis=1, dtype=np.float64) / ranks
    relevant = shared > 0
    count = relevant.sum(axis=1)
    result = np.full(len(shared), np.nan)
    np.divide((gains * relevant).sum(axis=1), count, out=result, where=count > 0)
    return result
